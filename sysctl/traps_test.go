package sysctl_test

import (
	"io/fs"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// proc makes a /proc/sys of the release and of files below net, given as pairs of path and text.
func proc(release string, files ...string) fstest.MapFS {
	fsys := fstest.MapFS{"net/ipv4/other": {}}
	if release != "" {
		fsys["kernel/osrelease"] = &fstest.MapFile{Data: []byte(release + "\n")}
	}
	for i := 0; i < len(files); i += 2 {
		fsys["net/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1] + "\n")}
	}
	return fsys
}

func TestDefaultFS(t *testing.T) {
	big := proc("6.18.44-cloud", "ipv4/tcp_ehash_entries", "-262144", "netfilter/nf_conntrack_buckets", "65536")
	for _, tt := range []struct {
		key  sysctl.AnyKey
		fsys fs.FS
		want any // nil: not known
	}{
		{sysctl.TCPFinTimeout, proc(""), time.Minute},
		{sysctl.TCPFinTimeout, nil, time.Minute},
		{sysctl.IPLocalReservedPorts, proc(""), sysctl.Ports(nil)},
		{sysctl.TCPTWReuse, proc("4.18.0-553.el8"), sysctl.TWReuseOff},
		{sysctl.TCPTWReuse, proc("4.19.1"), sysctl.TWReuseLoopback},
		{sysctl.TCPTWReuse, proc("10.0-rc1"), sysctl.TWReuseLoopback},
		{sysctl.TCPTWReuse, proc(""), nil},
		{sysctl.TCPTWReuse, proc("next"), nil},
		{sysctl.TCPTWReuse, nil, nil},
		{sysctl.Somaxconn, proc("5.3.18"), 128},
		{sysctl.Somaxconn, proc("5.4.0"), 4096},
		{sysctl.RmemMax, proc("6.17.13"), 212992},
		{sysctl.RmemMax, proc("6.18.0"), 4194304},
		{sysctl.WmemMax, big, 4194304},
		{sysctl.TCPFastOpen, proc("3.12"), sysctl.FastOpen(0)},
		{sysctl.TCPFastOpen, big, sysctl.FastOpenClient},
		{sysctl.TCPChallengeACKLimit, proc("4.6.1"), 100},
		{sysctl.TCPChallengeACKLimit, proc("5.10.262"), 1000},
		{sysctl.TCPChallengeACKLimit, proc("6.1.192"), math.MaxInt32},
		{sysctl.TCPChallengeACKLimit, proc(""), nil},
		{sysctl.TCPMaxTWBuckets, big, 131072},
		{sysctl.TCPMaxOrphans, big, 131072},
		{sysctl.TCPMaxSynBacklog, big, 2048},
		{sysctl.TCPMaxSynBacklog, proc("6.12", "ipv4/tcp_ehash_entries", "4096"), 128},
		{sysctl.TCPMaxTWBuckets, proc("6.12", "ipv4/tcp_ehash_entries", "64"), 32}, // a table of its own
		{sysctl.TCPMaxTWBuckets, proc("5.10.262"), nil},
		{sysctl.TCPMaxTWBuckets, nil, nil},
		{sysctl.NFConntrackMax, big, 65536},
		{sysctl.NFConntrackMax, proc("5.10.262", "netfilter/nf_conntrack_buckets", "4096"), 16384},
		{sysctl.NFConntrackMax, proc("6.1"), nil},
		{sysctl.NFConntrackMax, proc("", "netfilter/nf_conntrack_buckets", "4096"), nil},
		{sysctl.TCPMem, big, nil},
		{sysctl.TCPEhashEntries, big, nil},
		{sysctl.TCPCongestionControl, big, nil},
	} {
		got, known := tt.key.DefaultAnyFS(tt.fsys)
		if known != (tt.want != nil) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %#v, %v, want %#v", tt.key.Info().Name, got, known, tt.want)
		}
	}
}

func TestTraps(t *testing.T) {
	plain := proc("6.18.44", "ipv4/tcp_ehash_entries", "262144", "ipv4/ip_local_reserved_ports", "", "ipv4/tcp_tw_reuse", "2")
	reserved := proc("6.18.44", "ipv4/ip_local_reserved_ports", "8080")
	reuse := proc("6.18.44", "ipv4/tcp_tw_reuse", "1")
	ports := func(first, last uint16) sysctl.PortRange { return sysctl.PortRange{First: first, Last: last} }
	for _, tt := range []struct {
		key   sysctl.AnyKey
		value any
		fsys  fs.FS
		words string // in the effect; empty: no trap
	}{
		{sysctl.TCPFinTimeout, 60 * time.Second, plain, ""},
		{sysctl.TCPFinTimeout, 1 * time.Second, plain, ""},
		{sysctl.TCPFinTimeout, 61 * time.Second, plain, "after 2s"},
		{sysctl.TCPFinTimeout, 119 * time.Second, nil, "after 1m58s"},
		{sysctl.TCPFinTimeout, 120 * time.Second, plain, ""},
		{sysctl.TCPFinTimeout, time.Duration(0), plain, "3.5"},
		{sysctl.TCPFinTimeout, -time.Second, plain, "3.5"},
		{sysctl.TCPMaxTWBuckets, 131072, plain, ""},
		{sysctl.TCPMaxTWBuckets, 5000, plain, "lowered"},
		{sysctl.TCPMaxTWBuckets, 5000, proc("5.10"), ""}, // nobody knows
		{sysctl.TCPMaxTWBuckets, 0, proc("5.10"), "no TIME_WAIT"},
		{sysctl.TCPMaxTWBuckets, -1, plain, ""},
		{sysctl.TCPMaxOrphans, 100, plain, "lowered"},
		{sysctl.TCPMaxOrphans, 131072, plain, ""},
		{sysctl.TCPTimestamps, sysctl.TimestampsOff, plain, "TIME_WAIT"},
		{sysctl.TCPTimestamps, sysctl.TimestampsOff, reuse, "tcp_tw_reuse=1 does nothing"},
		{sysctl.TCPTimestamps, sysctl.TimestampsOff, nil, "TIME_WAIT"},
		{sysctl.TCPTimestamps, sysctl.TimestampsNoOffset, reuse, ""},
		{sysctl.TCPRFC1337, true, plain, "SYN"},
		{sysctl.TCPRFC1337, false, plain, ""},
		{sysctl.TCPSyncookies, sysctl.SyncookiesOff, plain, "dropped"},
		{sysctl.TCPSyncookies, sysctl.SyncookiesOnOverflow, plain, ""},
		{sysctl.TCPSyncookies, sysctl.SyncookiesAlways, plain, "tests"},
		{sysctl.TCPTWRecycle, true, plain, "NAT"},
		{sysctl.TCPAbortOnOverflow, true, plain, "ECONNRESET"},
		{sysctl.TCPSynackRetries, 1, plain, "lost"},
		{sysctl.TCPSynackRetries, 2, plain, ""},
		{sysctl.TCPRetries2, 7, plain, "RFC 1122"},
		{sysctl.TCPRetries2, 8, plain, ""},
		{sysctl.Somaxconn, 127, plain, "queue"},
		{sysctl.Somaxconn, 128, plain, ""},
		{sysctl.TCPRTOMin, 5 * time.Millisecond, plain, "twice"},
		{sysctl.TCPRTOMin, 40 * time.Millisecond, plain, ""},
		{sysctl.TCPInvalidRatelimit, time.Duration(0), plain, "ACKs"},
		{sysctl.TCPInvalidRatelimit, time.Millisecond, plain, ""},
		{sysctl.TCPChallengeACKLimit, 1000, plain, "limit"},
		{sysctl.TCPChallengeACKLimit, 1000, proc("5.10.262"), ""},
		{sysctl.TCPChallengeACKLimit, 999, proc("5.10.262"), "limit"},
		{sysctl.TCPChallengeACKLimit, math.MaxInt32, proc(""), ""},
		{sysctl.NFConntrackTCPTimeoutTimeWait, 59 * time.Second, plain, "NAT"},
		{sysctl.NFConntrackTCPTimeoutTimeWait, time.Minute, plain, ""},
		{sysctl.IPLocalPortRange, ports(32768, 60999), plain, ""},
		{sysctl.IPLocalPortRange, ports(40000, 49999), plain, "10000 connections"},
		{sysctl.IPLocalPortRange, ports(1024, 65535), plain, "services"},
		{sysctl.IPLocalPortRange, ports(1024, 65535), reserved, ""},
		{sysctl.IPLocalPortRange, ports(32768, 61000), plain, "odd"},
		{sysctl.TCPMem, sysctl.PageTriple{Low: 1, Pressure: 2, High: 2}, plain, ""},
		{sysctl.TCPMem, sysctl.PageTriple{Low: 3, Pressure: 2, High: 4}, plain, "order"},
		{sysctl.TCPMem, sysctl.PageTriple{Low: 1, Pressure: 5, High: 4}, plain, "order"},
		{sysctl.TCPRmem, sysctl.ByteTriple{Min: 1, Default: 2, Max: 2}, plain, ""},
		{sysctl.TCPWmem, sysctl.ByteTriple{Min: 1, Default: 3, Max: 2}, plain, "above the maximum"},
		{sysctl.TCPChildEhashEntries, 0, plain, ""},
		{sysctl.TCPChildEhashEntries, 30, plain, "only 16 "},
		{sysctl.TCPChildEhashEntries, 64, plain, "only 32 "},
		{sysctl.TCPChildEhashEntries, 8192, plain, ""},
		{sysctl.TCPFinTimeout, 61, plain, ""}, // another type than the key's
		{sysctl.TCPFinTimeout, nil, plain, ""},
	} {
		trap, is := tt.key.TrapAnyFS(tt.value, tt.fsys)
		name := tt.key.Info().Name
		switch {
		case is != (tt.words != ""):
			t.Errorf("%s=%v: %+v, %v", name, tt.value, trap, is)
		case !is:
			if trap != (sysctl.Trap{}) {
				t.Errorf("%s=%v: %+v beside false", name, tt.value, trap)
			}
		case !strings.Contains(trap.Effect, tt.words) || strings.HasSuffix(trap.Effect, ".") || trap.Better == "":
			t.Errorf("%s=%v: %+v, want an effect with %q and something better", name, tt.value, trap, tt.words)
		}
	}
}

// What the kernel starts with is no trap.
func TestDefaultsAreNoTraps(t *testing.T) {
	for _, release := range []string{"3.2", "4.4", "5.10.262", "6.1.192", "6.12.117", "6.18.15", "7.3.4"} {
		fsys := proc(release, "ipv4/tcp_ehash_entries", "-4096", "ipv4/ip_local_reserved_ports", "", "ipv4/tcp_tw_reuse", "2")
		for key := range sysctl.Keys() {
			if value, known := key.DefaultAnyFS(fsys); known {
				if trap, is := key.TrapAnyFS(value, fsys); is {
					t.Errorf("Linux %s: %s=%v: %+v", release, key.Info().Name, value, trap)
				}
			}
		}
	}
}
