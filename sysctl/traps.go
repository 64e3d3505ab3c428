package sysctl

import (
	"fmt"
	"io/fs"
	"math"
	"time"
)

// Trap tells why a value of a setting is a trap: it does something other than it
// seems to, or harm that is seldom meant. The texts are for people; they may
// change. See [Key.TrapFS].
type Trap struct {
	Effect string // what the value does, as a sentence without a full stop
	Better string // values that do not, such as "60 or less" in the key's unit
}

// traps is the option of newKey that says what Key.TrapFS answers.
func traps[T any](judge func(value T, fsys fs.FS) (Trap, bool)) option[T] {
	return func(def *definition[T]) { def.trap = judge }
}

// trapIf is traps for values that are one whatever else is set.
func trapIf[T any](is func(value T) bool, effect, better string) option[T] {
	return traps(func(value T, _ fs.FS) (Trap, bool) {
		if !is(value) {
			return Trap{}, false
		}
		return Trap{effect, better}, true
	})
}

func isOn(v bool) bool { return v }

// below returns the test for a number that is too low.
func below[T int | time.Duration](limit T) func(T) bool { return func(v T) bool { return v < limit } }

func finTimeoutTrap(v time.Duration, _ fs.FS) (Trap, bool) {
	switch {
	case v <= 0:
		return Trap{"it does not do away with FIN_WAIT2, which then lasts about 3.5 retransmission timeouts", "1 to 60"}, true
	case v > 60*time.Second && v < 120*time.Second:
		return Trap{
			fmt.Sprintf("FIN_WAIT2 ends after %v: above 60 s it lasts twice what is over 60 s", 2*(v-60*time.Second)),
			"60 or less, 120 or more",
		}, true
	}
	return Trap{}, false
}

func twBucketsTrap(v int, fsys fs.FS) (Trap, bool) {
	normal, known := fromTable(fsys, half)
	switch {
	case v == 0:
		return Trap{"there is no TIME_WAIT at all: old segments can reach new connections, peers get RSTs", orMore(normal, known)}, true
	case v > 0 && known && v < normal:
		return Trap{"lowered: a connection closed above it skips TIME_WAIT, and its peer may get a RST", orMore(normal, known)}, true
	}
	return Trap{}, false
}

func orphansTrap(v int, fsys fs.FS) (Trap, bool) {
	if normal, known := fromTable(fsys, half); known && v < normal {
		return Trap{"lowered: above it close() sends a RST and data is lost, and stalled sockets count up to four times", orMore(normal, known)}, true
	}
	return Trap{}, false
}

func orMore(normal int, known bool) string {
	if !known {
		return "the kernel's own"
	}
	return fmt.Sprintf("%d or more", normal)
}

func timestampsTrap(v Timestamps, fsys fs.FS) (Trap, bool) {
	if v != TimestampsOff {
		return Trap{}, false
	}
	t := Trap{"nothing keeps old segments out of fast connections, and no TIME_WAIT can be reused", "1"}
	if reuse, err := TCPTWReuse.GetFS(fsys); err == nil && reuse == TWReuseOn {
		t.Effect = "net.ipv4.tcp_tw_reuse=1 does nothing without them, nor are old segments kept out of fast connections"
	}
	return t, true
}

func syncookiesTrap(v Syncookies, _ fs.FS) (Trap, bool) {
	switch v {
	case SyncookiesOff:
		return Trap{"a flood of SYNs shuts listeners: SYNs are dropped once the queue is full", "1"}, true
	case SyncookiesAlways:
		return Trap{"made for tests: every connection is answered by a cookie and may lose TCP options", "1"}, true
	}
	return Trap{}, false
}

func portRangeTrap(v PortRange, fsys fs.FS) (Trap, bool) {
	const normal = 60999 - 32768 + 1
	reserved, err := IPLocalReservedPorts.GetFS(fsys)
	switch {
	case v.Len() < normal:
		return Trap{
			fmt.Sprintf("at most %d connections from one address to one destination at a time, TIME_WAIT included", v.Len()),
			"32768 60999 or wider",
		}, true
	case v.First < 32768 && err == nil && reserved.In(v) == 0:
		return Trap{
			"it holds ports of services, none of them reserved: a connection can take one before the service starts",
			"their ports in net.ipv4.ip_local_reserved_ports",
		}, true
	case v.First%2 == v.Last%2:
		return Trap{"both ends are even or both are odd: one port may be passed over", "ends of different parity"}, true
	}
	return Trap{}, false
}

func pagesTrap(v PageTriple, _ fs.FS) (Trap, bool) {
	if v.Low <= v.Pressure && v.Pressure <= v.High {
		return Trap{}, false
	}
	return Trap{"the three are not in ascending order: memory runs out before it is saved", "low, pressure and high in this order"}, true
}

func bytesTrap(v ByteTriple, _ fs.FS) (Trap, bool) {
	if v.Default <= v.Max {
		return Trap{}, false
	}
	return Trap{"the default is above the maximum: buffers cannot grow", "min, default and max in this order"}, true
}

func childTableTrap(v int, _ fs.FS) (Trap, bool) {
	if v <= 0 || v >= 8192 {
		return Trap{}, false
	}
	own := 1
	for own < v {
		own *= 2
	}
	return Trap{
		fmt.Sprintf("the next namespace may have only %d mini-sockets (TIME_WAIT) by default, and slow lookups", own/2),
		"0 or at least 8192",
	}, true
}

// challengeTrap warns where a limit can be used up, and so watched, from
// afar. Before Linux 6.1 the default was one, of 1000.
func challengeTrap(v int, fsys fs.FS) (Trap, bool) {
	if normal, known := challengeLimit(fsys); v == math.MaxInt32 || known && v >= normal {
		return Trap{}, false
	}
	return Trap{"a limit for the whole namespace lets a stranger find out about connections by using it up", "2147483647"}, true
}
