package sysctl

import (
	"strconv"
	"strings"
)

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

// ECN says whether connections use Explicit Congestion Notification. See
// [TCPECN]. Values without a name are kept.
type ECN int

// The values of tcp_ecn. Those with AccECN (RFC 9768) came with Linux 7.0.
const (
	ECNOff     ECN = 0 // never
	ECNOn      ECN = 1 // asked for by connect(), agreed to by listeners
	ECNPassive ECN = 2 // agreed to by listeners only

	ECNAccurate        ECN = 3 // AccECN, asked for and agreed to
	ECNAccurateListen  ECN = 4 // listeners agree to AccECN, connect() asks for ECN
	ECNAccuratePassive ECN = 5 // listeners agree to AccECN, connect() asks for nothing
)

// String returns "off", "on", "passive", "accurate", "accurate listen" or
// "accurate passive", or "ECN(7)" for another value.
func (v ECN) String() string {
	names := [...]string{"off", "on", "passive", "accurate", "accurate listen", "accurate passive"}
	if v >= 0 && int(v) < len(names) {
		return names[v]
	}
	return "ECN(" + strconv.Itoa(int(v)) + ")"
}

// FastOpen says who may use TCP Fast Open: a set of bits. See [TCPFastOpen]. Bits
// without a name are kept.
type FastOpen int

// The bits of tcp_fastopen.
const (
	FastOpenClient         FastOpen = 0x1   // connect() and sendto()
	FastOpenServer         FastOpen = 0x2   // listeners with TCP_FASTOPEN
	FastOpenClientNoCookie FastOpen = 0x4   // clients that have no cookie yet
	FastOpenServerNoCookie FastOpen = 0x200 // clients without a cookie are let in
	FastOpenServerAll      FastOpen = 0x400 // listeners without TCP_FASTOPEN, too
)

// Has reports whether all of the bits are set; the zero FastOpen has none.
func (v FastOpen) Has(bits FastOpen) bool { return bits != 0 && v&bits == bits }

// String returns "off", or the names of the bits as in "client|server", with the
// rest as a number in hexadecimal.
func (v FastOpen) String() string {
	if v == 0 {
		return "off"
	}
	var parts []string
	for _, bit := range [...]struct {
		mask FastOpen
		name string
	}{
		{FastOpenClient, "client"}, {FastOpenServer, "server"}, {FastOpenClientNoCookie, "client no cookie"},
		{FastOpenServerNoCookie, "server no cookie"}, {FastOpenServerAll, "server all"},
	} {
		if v.Has(bit.mask) {
			parts = append(parts, bit.name)
			v &^= bit.mask
		}
	}
	if v != 0 {
		parts = append(parts, "0x"+strconv.FormatUint(uint64(uint32(v)), 16))
	}
	return strings.Join(parts, "|")
}
