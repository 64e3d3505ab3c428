package sysctl

import "strconv"

// TWReuse says whether connect() may take over the addresses and ports of a
// connection in TIME_WAIT. See [TCPTWReuse]. Values without a name are kept.
type TWReuse int

// The values of tcp_tw_reuse.
const (
	TWReuseOff TWReuse = 0 // never
	TWReuseOn  TWReuse = 1 // to any peer

	// TWReuseLoopback is only within the host: loopback addresses, or bound
	// to lo. It came with Linux 4.19.
	TWReuseLoopback TWReuse = 2
)

// String returns "off", "on" or "loopback", or "TWReuse(7)" for another value.
func (v TWReuse) String() string {
	switch v {
	case TWReuseOff:
		return "off"
	case TWReuseOn:
		return "on"
	case TWReuseLoopback:
		return "loopback"
	}
	return "TWReuse(" + strconv.Itoa(int(v)) + ")"
}

// Syncookies says when the kernel answers a SYN without remembering it. See
// [TCPSyncookies]. Values without a name are kept.
type Syncookies int

// The values of tcp_syncookies.
const (
	SyncookiesOff        Syncookies = 0 // never: SYNs are dropped
	SyncookiesOnOverflow Syncookies = 1 // when its queue is full
	SyncookiesAlways     Syncookies = 2 // for every SYN; made for tests
)

// String returns "off", "on overflow" or "always", or "Syncookies(7)" for
// another value.
func (v Syncookies) String() string {
	switch v {
	case SyncookiesOff:
		return "off"
	case SyncookiesOnOverflow:
		return "on overflow"
	case SyncookiesAlways:
		return "always"
	}
	return "Syncookies(" + strconv.Itoa(int(v)) + ")"
}

// Timestamps says whether connections use the TCP timestamps option. See
// [TCPTimestamps]. Values without a name are kept.
type Timestamps int

// The values of tcp_timestamps.
const (
	TimestampsOff Timestamps = 0 // not used
	TimestampsOn  Timestamps = 1 // used, with a random offset

	// TimestampsNoOffset is used, straight from the clock of the host. It
	// came with Linux 4.10.
	TimestampsNoOffset Timestamps = 2
)

// String returns "off", "on" or "no offset", or "Timestamps(7)" for another
// value.
func (v Timestamps) String() string {
	switch v {
	case TimestampsOff:
		return "off"
	case TimestampsOn:
		return "on"
	case TimestampsNoOffset:
		return "no offset"
	}
	return "Timestamps(" + strconv.Itoa(int(v)) + ")"
}

// PortRange is a range of ports, both ends in it. The zero PortRange has no
// port.
type PortRange struct {
	First, Last uint16 // both in it
}

// Len returns the number of ports in the range: 0 if Last is below First, and
// for the zero PortRange.
func (r PortRange) Len() int {
	if r.Last < r.First || r.Last == 0 {
		return 0
	}
	return int(r.Last) - int(r.First) + 1
}

// String returns the range as "32768-60999".
func (r PortRange) String() string {
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}
