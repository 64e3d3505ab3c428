package sysctl_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

func TestStrings(t *testing.T) {
	for _, tt := range []struct {
		value interface{ String() string }
		want  string
	}{
		{sysctl.TWReuseOff, "off"}, {sysctl.TWReuseOn, "on"}, {sysctl.TWReuseLoopback, "loopback"},
		{sysctl.TWReuse(-1), "TWReuse(-1)"},
		{sysctl.SyncookiesOff, "off"}, {sysctl.SyncookiesOnOverflow, "on overflow"},
		{sysctl.SyncookiesAlways, "always"}, {sysctl.Syncookies(255), "Syncookies(255)"},
		{sysctl.TimestampsOff, "off"}, {sysctl.TimestampsOn, "on"}, {sysctl.TimestampsNoOffset, "no offset"},
		{sysctl.Timestamps(3), "Timestamps(3)"},
		{sysctl.Namespace, "namespace"}, {sysctl.Host, "host"}, {sysctl.Scope(0), "Scope(0)"},
		{sysctl.PortRange{First: 32768, Last: 60999}, "32768-60999"},
		{sysctl.ECNOff, "off"}, {sysctl.ECNOn, "on"}, {sysctl.ECNPassive, "passive"}, {sysctl.ECNAccurate, "accurate"},
		{sysctl.ECNAccurateListen, "accurate listen"}, {sysctl.ECNAccuratePassive, "accurate passive"},
		{sysctl.ECN(6), "ECN(6)"}, {sysctl.ECN(-1), "ECN(-1)"},
		{sysctl.FastOpen(0), "off"}, {sysctl.FastOpen(0x603), "client|server|server no cookie|server all"},
		{sysctl.FastOpen(4), "client no cookie"}, {sysctl.FastOpen(0x18), "0x18"}, {sysctl.FastOpen(0x801), "client|0x800"},
		{sysctl.FastOpen(-1), "client|server|client no cookie|server no cookie|server all|0xfffff9f8"},
		{sysctl.Ports(nil), ""}, {sysctl.Ports{{First: 80, Last: 80}}, "80"},
		{sysctl.Ports{{First: 8080, Last: 8080}, {First: 9000, Last: 9010}}, "8080,9000-9010"},
		{sysctl.HashTable{Buckets: 64}, "64"}, {sysctl.HashTable{Buckets: 4096, Shared: true}, "4096 shared"},
		{sysctl.PageTriple{Low: 1, Pressure: 2, High: math.MaxUint64}, "1 2 18446744073709551615"},
		{sysctl.ByteTriple{Min: 4096, Default: 16384, Max: 16 << 30}, "4096 16384 17179869184"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%#v prints %q, want %q", tt.value, got, tt.want)
		}
	}
}

func TestPortRangeLen(t *testing.T) {
	for _, tt := range []struct {
		r    sysctl.PortRange
		want int
	}{
		{sysctl.PortRange{First: 32768, Last: 60999}, 28232}, // the kernel's default
		{sysctl.PortRange{First: 0, Last: 65535}, 65536},
		{sysctl.PortRange{First: 1024, Last: 1024}, 1},
		{sysctl.PortRange{First: 2, Last: 1}, 0},
		{sysctl.PortRange{}, 0},
	} {
		if got := tt.r.Len(); got != tt.want {
			t.Errorf("%v.Len() = %d, want %d", tt.r, got, tt.want)
		}
	}
}

func TestFastOpenHas(t *testing.T) {
	v := sysctl.FastOpenClient | sysctl.FastOpenServer
	if !v.Has(sysctl.FastOpenServer) || !v.Has(v) || v.Has(v|sysctl.FastOpenServerAll) || v.Has(0) || sysctl.FastOpen(0).Has(0) {
		t.Errorf("%v.Has is wrong", v)
	}
}

func TestPorts(t *testing.T) {
	ports := sysctl.Ports{{First: 1, Last: 3}, {First: 8080, Last: 8080}, {First: 65000, Last: 65535}}
	for port, want := range map[uint16]bool{0: false, 1: true, 3: true, 4: false, 8079: false, 8080: true, 8081: false, 64999: false, 65535: true} {
		if got := ports.Has(port); got != want {
			t.Errorf("Has(%d) = %v", port, got)
		}
	}
	if got := ports.Len(); got != 3+1+536 {
		t.Errorf("Len() = %d", got)
	}
	for _, tt := range []struct {
		r    sysctl.PortRange
		want int
	}{
		{sysctl.PortRange{First: 1, Last: 65535}, 540},
		{sysctl.PortRange{First: 0, Last: 65535}, 540},
		{sysctl.PortRange{First: 3, Last: 8080}, 2},
		{sysctl.PortRange{First: 4, Last: 8079}, 0},
		{sysctl.PortRange{First: 65535, Last: 65535}, 1},
		{sysctl.PortRange{First: 9, Last: 8}, 0},
		{sysctl.PortRange{}, 0},
	} {
		if got := ports.In(tt.r); got != tt.want {
			t.Errorf("In(%v) = %d, want %d", tt.r, got, tt.want)
		}
	}
	var none sysctl.Ports
	if none.Len() != 0 || none.Has(80) || (sysctl.Ports{{}}).Has(0) {
		t.Error("there is a port in no ports")
	}
}

// The types are a promise to importers.
func TestKeyTypes(t *testing.T) {
	for _, tt := range []struct {
		key  sysctl.AnyKey
		want any
	}{
		{sysctl.NetdevMaxBacklog, sysctl.Key[int]{}},
		{sysctl.RmemMax, sysctl.Key[int]{}},
		{sysctl.Somaxconn, sysctl.Key[int]{}},
		{sysctl.WmemMax, sysctl.Key[int]{}},
		{sysctl.IPAutobindReuse, sysctl.Key[bool]{}},
		{sysctl.IPDynaddr, sysctl.Key[int]{}},
		{sysctl.IPForward, sysctl.Key[bool]{}},
		{sysctl.IPLocalPortRange, sysctl.Key[sysctl.PortRange]{}},
		{sysctl.IPLocalReservedPorts, sysctl.Key[sysctl.Ports]{}},
		{sysctl.IPNonlocalBind, sysctl.Key[bool]{}},
		{sysctl.IPUnprivilegedPortStart, sysctl.Key[uint16]{}},
		{sysctl.TCPAbortOnOverflow, sysctl.Key[bool]{}},
		{sysctl.TCPChallengeACKLimit, sysctl.Key[int]{}},
		{sysctl.TCPChildEhashEntries, sysctl.Key[int]{}},
		{sysctl.TCPCongestionControl, sysctl.Key[string]{}},
		{sysctl.TCPECN, sysctl.Key[sysctl.ECN]{}},
		{sysctl.TCPEhashEntries, sysctl.Key[sysctl.HashTable]{}},
		{sysctl.TCPFastOpen, sysctl.Key[sysctl.FastOpen]{}},
		{sysctl.TCPFinTimeout, sysctl.Key[time.Duration]{}},
		{sysctl.TCPInvalidRatelimit, sysctl.Key[time.Duration]{}},
		{sysctl.TCPKeepaliveIntvl, sysctl.Key[time.Duration]{}},
		{sysctl.TCPKeepaliveProbes, sysctl.Key[int]{}},
		{sysctl.TCPKeepaliveTime, sysctl.Key[time.Duration]{}},
		{sysctl.TCPMaxOrphans, sysctl.Key[int]{}},
		{sysctl.TCPMaxSynBacklog, sysctl.Key[int]{}},
		{sysctl.TCPMaxTWBuckets, sysctl.Key[int]{}},
		{sysctl.TCPMem, sysctl.Key[sysctl.PageTriple]{}},
		{sysctl.TCPMigrateReq, sysctl.Key[bool]{}},
		{sysctl.TCPNoMetricsSave, sysctl.Key[bool]{}},
		{sysctl.TCPOrphanRetries, sysctl.Key[int]{}},
		{sysctl.TCPRetries1, sysctl.Key[int]{}},
		{sysctl.TCPRetries2, sysctl.Key[int]{}},
		{sysctl.TCPRFC1337, sysctl.Key[bool]{}},
		{sysctl.TCPRmem, sysctl.Key[sysctl.ByteTriple]{}},
		{sysctl.TCPRTOMax, sysctl.Key[time.Duration]{}},
		{sysctl.TCPRTOMin, sysctl.Key[time.Duration]{}},
		{sysctl.TCPSlowStartAfterIdle, sysctl.Key[bool]{}},
		{sysctl.TCPSynLinearTimeouts, sysctl.Key[int]{}},
		{sysctl.TCPSynRetries, sysctl.Key[int]{}},
		{sysctl.TCPSynackRetries, sysctl.Key[int]{}},
		{sysctl.TCPSyncookies, sysctl.Key[sysctl.Syncookies]{}},
		{sysctl.TCPTimestamps, sysctl.Key[sysctl.Timestamps]{}},
		{sysctl.TCPTWRecycle, sysctl.Key[bool]{}},
		{sysctl.TCPTWReuse, sysctl.Key[sysctl.TWReuse]{}},
		{sysctl.TCPTWReuseDelay, sysctl.Key[time.Duration]{}},
		{sysctl.TCPWmem, sysctl.Key[sysctl.ByteTriple]{}},
		{sysctl.NFConntrackBuckets, sysctl.Key[int]{}},
		{sysctl.NFConntrackCount, sysctl.Key[int]{}},
		{sysctl.NFConntrackMax, sysctl.Key[int]{}},
		{sysctl.NFConntrackTCPTimeoutClose, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutCloseWait, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutEstablished, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutFinWait, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutLastACK, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutMaxRetrans, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutSynRecv, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutSynSent, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutTimeWait, sysctl.Key[time.Duration]{}},
		{sysctl.NFConntrackTCPTimeoutUnacknowledged, sysctl.Key[time.Duration]{}},
	} {
		if got, want := reflect.TypeOf(tt.key), reflect.TypeOf(tt.want); got != want {
			t.Errorf("%s is a %v, want %v", tt.key.Info().Name, got, want)
		}
	}
}
