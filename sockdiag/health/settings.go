package health

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// Setting is the value of a kernel setting, where it could be read.
type Setting[T any] struct {
	Value T    // zero where it is not Known
	Known bool // it was read. If not, this kernel or namespace does not have it, or Snapshot.Gaps says why

	// Default is what the kernel would have by itself, where DefaultKnown.
	Default      T
	DefaultKnown bool // it can be told
}

// Or returns the value, or fallback where it is not known.
func (s Setting[T]) Or(fallback T) T {
	if s.Known {
		return s.Value
	}
	return fallback
}

// Settings are those settings that a diagnosis looks at. Package sysctl says what
// each does. They are what the kernel has, not what configuration files say. Those of
// scope host are mostly missing outside the initial network
// namespace.
type Settings struct {
	PortRange         Setting[sysctl.PortRange]  // ip_local_port_range
	ReservedPorts     Setting[sysctl.Ports]      // ip_local_reserved_ports
	TWReuse           Setting[sysctl.TWReuse]    // tcp_tw_reuse
	TWReuseDelay      Setting[time.Duration]     // Linux 6.14; before it the delay is a second
	Timestamps        Setting[sysctl.Timestamps] // tcp_timestamps
	MaxTWBuckets      Setting[int]               // tcp_max_tw_buckets
	FinTimeout        Setting[time.Duration]     // tcp_fin_timeout
	RFC1337           Setting[bool]              // tcp_rfc1337
	Syncookies        Setting[sysctl.Syncookies] // tcp_syncookies
	MaxSynBacklog     Setting[int]               // tcp_max_syn_backlog
	SynackRetries     Setting[int]               // tcp_synack_retries
	Somaxconn         Setting[int]               // net.core.somaxconn
	AbortOnOverflow   Setting[bool]              // tcp_abort_on_overflow
	OrphanRetries     Setting[int]               // tcp_orphan_retries
	MaxOrphans        Setting[int]               // of the host
	Mem               Setting[sysctl.PageTriple] // of the host
	KeepaliveTime     Setting[time.Duration]     // tcp_keepalive_time
	EhashEntries      Setting[sysctl.HashTable]  // Linux 6.1
	ConntrackCount    Setting[int]               // with nf_conntrack loaded
	ConntrackMax      Setting[int]               // nf_conntrack_max
	ConntrackTimeWait Setting[time.Duration]     // nf_conntrack_tcp_timeout_time_wait

	// Traps are the settings, of all that package sysctl knows, whose value does
	// something other than it seems to, or harm that is seldom meant.
	Traps []Trap
}

// Trap is a setting with a value that is a trap; see sysctl.Key.TrapFS.
type Trap struct {
	Name    string // "net.ipv4.tcp_fin_timeout"
	Value   string // as sysctl prints it
	Default string // the kernel's own, where it is known
	Effect  string // what the value does
	Better  string // values that do not
}

// reuseDelay is the age from which a TIME_WAIT can be taken over. Kernels before
// 6.14 compare whole seconds: one that is older than a second qualifies at the
// latest.
func (s *Settings) reuseDelay() time.Duration { return s.TWReuseDelay.Or(time.Second) }

// readSettings reads from a file system that is rooted at /proc/sys. What this
// kernel lacks is left out; gaps are what it may have and could not be read.
func readSettings(fsys fs.FS) (s Settings, gaps []string) {
	r := settingsReader{fsys: fsys}
	read(&r, sysctl.IPLocalPortRange, &s.PortRange)
	read(&r, sysctl.IPLocalReservedPorts, &s.ReservedPorts)
	read(&r, sysctl.TCPTWReuse, &s.TWReuse)
	read(&r, sysctl.TCPTWReuseDelay, &s.TWReuseDelay)
	read(&r, sysctl.TCPTimestamps, &s.Timestamps)
	read(&r, sysctl.TCPMaxTWBuckets, &s.MaxTWBuckets)
	read(&r, sysctl.TCPFinTimeout, &s.FinTimeout)
	read(&r, sysctl.TCPRFC1337, &s.RFC1337)
	read(&r, sysctl.TCPSyncookies, &s.Syncookies)
	read(&r, sysctl.TCPMaxSynBacklog, &s.MaxSynBacklog)
	read(&r, sysctl.TCPSynackRetries, &s.SynackRetries)
	read(&r, sysctl.Somaxconn, &s.Somaxconn)
	read(&r, sysctl.TCPAbortOnOverflow, &s.AbortOnOverflow)
	read(&r, sysctl.TCPOrphanRetries, &s.OrphanRetries)
	read(&r, sysctl.TCPMaxOrphans, &s.MaxOrphans)
	read(&r, sysctl.TCPMem, &s.Mem)
	read(&r, sysctl.TCPKeepaliveTime, &s.KeepaliveTime)
	read(&r, sysctl.TCPEhashEntries, &s.EhashEntries)
	read(&r, sysctl.NFConntrackCount, &s.ConntrackCount)
	read(&r, sysctl.NFConntrackMax, &s.ConntrackMax)
	read(&r, sysctl.NFConntrackTCPTimeoutTimeWait, &s.ConntrackTimeWait)
	if r.err == nil {
		s.Traps = readTraps(fsys)
	}
	if r.err != nil {
		gaps = append(gaps, "settings: "+r.err.Error())
	}
	return s, gaps
}

// settingsReader keeps the first thing that went wrong: where one file cannot be
// read, others cannot either.
type settingsReader struct {
	fsys fs.FS
	err  error
}

func read[T any](r *settingsReader, key sysctl.Key[T], into *Setting[T]) {
	value, err := key.GetFS(r.fsys)
	switch {
	case err == nil:
		into.Value, into.Known = value, true
	case !errors.Is(err, fs.ErrNotExist) && r.err == nil:
		r.err = err
	}
	into.Default, into.DefaultKnown = key.DefaultFS(r.fsys)
}

func readTraps(fsys fs.FS) (traps []Trap) {
	for key := range sysctl.Keys() {
		value, err := key.GetAnyFS(fsys)
		if err != nil {
			continue
		}
		trap, is := key.TrapAnyFS(value, fsys)
		if !is {
			continue
		}
		info := key.Info()
		t := Trap{Name: info.Name, Value: asWritten(value, info.Unit), Effect: trap.Effect, Better: trap.Better}
		if normal, known := key.DefaultAnyFS(fsys); known {
			t.Default = asWritten(normal, info.Unit)
		}
		traps = append(traps, t)
	}
	return traps
}

// asWritten is a value as sysctl(8) would write it.
func asWritten(value any, unit string) string {
	switch v := value.(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	case time.Duration:
		switch unit {
		case "milliseconds":
			return fmt.Sprint(v.Milliseconds())
		case "microseconds":
			return fmt.Sprint(v.Microseconds())
		}
		return fmt.Sprint(int64(v / time.Second))
	case sysctl.TWReuse, sysctl.Timestamps, sysctl.Syncookies, sysctl.ECN, sysctl.FastOpen:
		return fmt.Sprintf("%d", v)
	case sysctl.PortRange:
		return fmt.Sprintf("%d %d", v.First, v.Last)
	}
	return fmt.Sprint(value)
}
