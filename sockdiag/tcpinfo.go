package sockdiag

import (
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"strconv"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/seed16c515c6/timewait/tcpstate"
)

//go:generate go run ../internal/cmd/gentcpinfo

// What some fields of TCPInfo hold where the kernel has no number for them.
const (
	// NoTraffic is the value of LastDataSent, LastDataRecv and LastAckRecv of a
	// socket without a connection: in SYN_SENT, SYN_RECV and LISTEN, and in CLOSE
	// if it never had one or was disconnected (connect to AF_UNSPEC). The kernel
	// reports the time since its own clock's zero there, or 0 for LISTEN.
	NoTraffic time.Duration = -1

	// RateUnlimited is a PacingRate or MaxPacingRate without limit.
	RateUnlimited uint64 = math.MaxUint64

	// SSThreshInfinite is the SndSSThresh of a connection that never lost a
	// segment, and so never left its first slow start (TCP_INFINITE_SSTHRESH).
	SSThreshInfinite uint32 = 0x7fffffff
)

// UnmarshalBinary decodes a struct tcp_info in the byte order of this machine: what
// getsockopt(TCP_INFO) fills in, or an INET_DIAG_INFO attribute. b may come from
// any kernel. Fields behind its end, or cut by it, are zero and Has denies them;
// bytes behind the newest field known here are ignored. Even a getsockopt into one
// byte is a legal tcp_info, so only an empty b is an error, a *DecodeError; it
// leaves t as it was.
//
// b is not kept.
func (t *TCPInfo) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		return &DecodeError{What: "tcp_info", Len: 0, Want: 1}
	}
	t.decode(b)
	return nil
}

// decode is UnmarshalBinary for any length; without bytes t becomes zero.
func (t *TCPInfo) decode(b []byte) {
	if len(b) >= sizeofTCPInfo {
		t.size = sizeofTCPInfo
		t.load((*[sizeofTCPInfo]byte)(b))
	} else {
		t.size = wholeFields(len(b))
		var w [sizeofTCPInfo]byte // what an older kernel did not send reads as zero
		copy(w[:], b[:t.size])
		t.load(&w)
	}
	if t.unconnected() {
		t.setNoTraffic()
	}
}

// wholeFields returns where the last field ends that n bytes have the whole of. It
// is the same for any two lengths with the same fields, so that TCPInfos are equal
// if their fields are.
func wholeFields(n int) uint16 {
	if n%8 == 0 && n > 8 {
		return uint16(n) // the length of any kernel's struct: fields are aligned to their size
	}
	end := uint16(0)
	for _, f := range tcpInfoFields {
		if int(f.need) <= n {
			end = max(end, f.need)
		}
	}
	return end
}

// unconnected reports whether the last_* times of the kernel mean nothing: it
// sets them when a connection is established. (All but tcpi_last_ack_recv already
// when a TCP Fast Open child is made, which is in SYN_RECV until the first ACK.)
func (t *TCPInfo) unconnected() bool {
	switch t.State {
	case tcpstate.SynSent, tcpstate.SynRecv, tcpstate.Listen:
		return true
	case tcpstate.Closed:
		// A connect() that failed may have received segments (a RST) but never
		// got a receive space. A socket that was disconnected keeps its receive
		// space, and with it times of the old connection, but not its counts.
		return t.RcvSpace == 0 || t.SegsIn == 0
	}
	return false
}

func (t *TCPInfo) setNoTraffic() {
	if t.Has(FieldLastDataSent) {
		t.LastDataSent = NoTraffic
	}
	if t.Has(FieldLastDataRecv) {
		t.LastDataRecv = NoTraffic
	}
	if t.Has(FieldLastAckRecv) {
		t.LastAckRecv = NoTraffic
	}
}

// Has reports whether the kernel supplied the field, judged by the length of what
// it sent. It is false for a Field that this package does not know, and always for
// the zero TCPInfo.
func (t *TCPInfo) Has(f Field) bool {
	if int(f) >= len(tcpInfoFields) {
		return false
	}
	need := tcpInfoFields[f].need
	return need != 0 && need <= t.size
}

// Field names a field of TCPInfo. The zero Field names none.
type Field uint8

// fieldInfo is a row of tcpInfoFields. The row of the zero Field is empty.
type fieldInfo struct {
	name         string
	off, size    uint16
	need         uint16 // the length of a tcp_info that has the field
	major, minor uint8  // the release that brought it; zero: older than 3.0
}

// Fields yields every field that this package knows, in the kernel's order.
func Fields() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for f := Field(1); int(f) < len(tcpInfoFields); f++ {
			if !yield(f) {
				return
			}
		}
	}
}

// String returns the kernel's name of the field, "tcpi_rtt"; "Field(200)" for one
// that this package does not know.
func (f Field) String() string {
	if f == 0 || int(f) >= len(tcpInfoFields) {
		return "Field(" + strconv.Itoa(int(f)) + ")"
	}
	return tcpInfoFields[f].name
}

// Since returns the first Linux release whose tcp_info has the field. It is the
// zero Release for fields older than Linux 3.0 and for unknown ones.
func (f Field) Since() Release {
	if int(f) >= len(tcpInfoFields) {
		return Release{}
	}
	row := &tcpInfoFields[f]
	return Release{Major: int(row.major), Minor: int(row.minor)}
}

// CAState is a state of congestion control (enum tcp_ca_state).
type CAState uint8

// The states of congestion control.
const (
	CAOpen     CAState = 0 // nothing unusual
	CADisorder CAState = 1 // duplicate acknowledgements: loss or reordering, not clear yet
	CACWR      CAState = 2 // the window is being reduced after ECN or local congestion
	CARecovery CAState = 3 // fast recovery: segments were lost and are sent again
	CALoss     CAState = 4 // a retransmission timeout happened
)

// String returns the kernel's name, "Recovery"; "CAState(9)" for an unknown one.
func (s CAState) String() string {
	return enumString(s, "CAState", "Open", "Disorder", "CWR", "Recovery", "Loss")
}

// TCPOptions is a set of options and extensions of a connection (TCPI_OPT_*).
type TCPOptions uint8

// The options. A kernel older than the one stated never sets the bit.
const (
	OptTimestamps TCPOptions = 1 << 0 // RFC 7323 timestamps
	OptSACK       TCPOptions = 1 << 1 // selective acknowledgements
	OptWScale     TCPOptions = 1 << 2 // window scaling
	OptECN        TCPOptions = 1 << 3 // explicit congestion notification was negotiated
	OptECNSeen    TCPOptions = 1 << 4 // an ECN-capable packet was received
	OptSynData    TCPOptions = 1 << 5 // data in the SYN was acknowledged (TCP Fast Open)
	OptUsecTS     TCPOptions = 1 << 6 // timestamps count microseconds, since Linux 6.7
	OptTFOChild   TCPOptions = 1 << 7 // accepted by TCP Fast Open, since Linux 6.16
)

// Has reports whether o has all of x.
func (o TCPOptions) Has(x TCPOptions) bool { return o&x == x }

// String lists the options, "Timestamps|SACK"; "none" for the empty set.
func (o TCPOptions) String() string { return string(o.append(nil)) }

func (o TCPOptions) append(b []byte) []byte {
	return appendSet(b, o, "TCPOptions", "Timestamps", "SACK", "WScale", "ECN", "ECNSeen", "SynData", "UsecTS", "TFOChild")
}

// FastOpenFailure says why a client's TCP Fast Open did not carry data (enum
// tcp_fastopen_client_fail).
type FastOpenFailure uint8

// The reasons.
const (
	FastOpenUnspecified       FastOpenFailure = 0 // it worked, or was not tried
	FastOpenCookieUnavailable FastOpenFailure = 1 // no cookie of the server was known
	FastOpenDataNotAcked      FastOpenFailure = 2 // the SYN was acknowledged without its data
	FastOpenSYNRetransmitted  FastOpenFailure = 3 // the SYN had to be sent again, without data
)

// String returns "Unspecified", "CookieUnavailable", "DataNotAcked" or
// "SYNRetransmitted"; "FastOpenFailure(4)" for an unknown one.
func (f FastOpenFailure) String() string {
	return enumString(f, "FastOpenFailure", "Unspecified", "CookieUnavailable", "DataNotAcked", "SYNRetransmitted")
}

// enumString returns the v-th name, or v with its type's name.
func enumString[T ~uint8 | ~uint16](v T, typ string, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return typ + "(" + strconv.Itoa(int(v)) + ")"
}

// appendSet appends the names of the bits of v with a bar between them; a bit
// without a name is "Type(3)".
func appendSet[T ~uint8 | ~uint16 | ~uint32](b []byte, v T, typ string, names ...string) []byte {
	if v == 0 {
		return append(b, "none"...)
	}
	for bar := false; v != 0; v &= v - 1 {
		if bar {
			b = append(b, '|')
		}
		bar = true
		b = append(b, enumString(uint8(bits.TrailingZeros32(uint32(v))), typ, names...)...)
	}
	return b
}

// bitField takes width bits out of a unit of the given number of bits. A C compiler
// puts the first bit-field of a unit at the low end on little-endian machines and at
// the high end on big-endian ones; first counts from that end.
func bitField(word uint32, unit, first, width uint, bigEndian bool) uint32 {
	if bigEndian {
		first = unit - first - width
	}
	return word >> first & (1<<width - 1)
}

// words is two words of the kernel's by one load, and one store where they go to fields
// that are next to each other.
func words(b []byte) (first, second uint32) {
	both := ne.Uint64(b)
	if cpu.IsBigEndian {
		return uint32(both >> 32), uint32(both)
	}
	return uint32(both), uint32(both >> 32)
}

// octets is four bytes by one load, in the same way.
func octets(b []byte) (b0, b1, b2, b3 uint8) {
	all := ne.Uint32(b)
	if cpu.IsBigEndian {
		return uint8(all >> 24), uint8(all >> 16), uint8(all >> 8), uint8(all)
	}
	return uint8(all), uint8(all >> 8), uint8(all >> 16), uint8(all >> 24)
}

func micros(v uint32) time.Duration { return time.Duration(v) * time.Microsecond }
func millis(v uint32) time.Duration { return time.Duration(v) * time.Millisecond }

// micros64 keeps within what a Duration can hold, 292 years.
func micros64(v uint64) time.Duration {
	return time.Duration(min(v, math.MaxInt64/uint64(time.Microsecond))) * time.Microsecond
}

// minRTT turns the kernel's mark for "no sample" into zero, which no sample is.
func minRTT(v uint32) time.Duration {
	if v == math.MaxUint32 {
		return 0
	}
	return micros(v)
}

// AccECN is the state of Accurate ECN (RFC 9768) of a connection, as far as its
// kernel reports it.
type AccECN struct {
	Mode     ECNMode       // ECNModeUnknown before Linux 7.0
	Option   AccECNOption  // the newest AccECN option that the peer sent
	Failure  AccECNFailure // what was found not to work on the path
	Options2 uint32        // tcpi_options2, 24 bits that are not assigned yet; zero before Linux 7.0
}

// AccECN decodes the last four bytes of the tcp_info of Linux 6.18 and newer. Linux
// 7.0 gave them another layout at the same length, so they can only be read for a
// given kernel: the one that sent them, RunningRelease for those of this machine. It
// reports false if the kernel did not send them, or is older than 6.18.
func (t *TCPInfo) AccECN(kernel Release) (AccECN, bool) {
	if !t.Has(FieldAccECN) || !kernel.AtLeast(6, 18) {
		return AccECN{}, false
	}
	return accECNOf(t.accECN, kernel, cpu.IsBigEndian), true
}

func accECNOf(b [4]byte, kernel Release, bigEndian bool) AccECN {
	var order binary.ByteOrder = binary.LittleEndian
	if bigEndian {
		order = binary.BigEndian
	}
	if !kernel.AtLeast(7, 0) {
		return AccECN{Failure: AccECNFailure(order.Uint16(b[0:])), Option: AccECNOption(order.Uint16(b[2:]))}
	}
	word := order.Uint32(b[:])
	return AccECN{
		Mode:     ECNModeDisabled + ECNMode(bitField(word, 32, 0, 2, bigEndian)),
		Option:   AccECNOption(bitField(word, 32, 2, 2, bigEndian)),
		Failure:  AccECNFailure(bitField(word, 32, 4, 4, bigEndian)),
		Options2: bitField(word, 32, 8, 24, bigEndian),
	}
}

// ECNMode is what a connection negotiated about ECN (TCPI_ECN_MODE_*). The numbers
// are the kernel's plus one, so that zero says nothing.
type ECNMode uint8

// The modes.
const (
	ECNModeUnknown  ECNMode = 0 // the kernel does not tell
	ECNModeDisabled ECNMode = 1 // no ECN
	ECNModeRFC3168  ECNMode = 2 // classic ECN
	ECNModeAccECN   ECNMode = 3 // Accurate ECN
	ECNModePending  ECNMode = 4 // still being negotiated
)

// String returns "Unknown", "Disabled", "RFC3168", "AccECN" or "Pending";
// "ECNMode(7)" for one that this package does not know.
func (m ECNMode) String() string {
	return enumString(m, "ECNMode", "Unknown", "Disabled", "RFC3168", "AccECN", "Pending")
}

// AccECNOption says what AccECN option was seen from the peer (TCP_ACCECN_OPT_*).
type AccECNOption uint16

// The options seen.
const (
	AccECNOptionNotSeen AccECNOption = 0
	AccECNOptionEmpty   AccECNOption = 1 // without counters
	AccECNOptionCounter AccECNOption = 2 // with counters
	AccECNOptionFail    AccECNOption = 3 // with initial counters that cannot be right
)

// String returns "NotSeen", "Empty", "Counter" or "Fail"; "AccECNOption(4)" for an
// unknown one.
func (o AccECNOption) String() string {
	return enumString(o, "AccECNOption", "NotSeen", "Empty", "Counter", "Fail")
}

// AccECNFailure is a set of the things that middleboxes were found to break
// (TCP_ACCECN_*_FAIL_*).
type AccECNFailure uint16

// The failures.
const (
	AccECNFailACESend    AccECNFailure = 1 << 0 // the ACE bits that we send
	AccECNFailACERecv    AccECNFailure = 1 << 1 // the ACE bits that the peer sends
	AccECNFailOptionSend AccECNFailure = 1 << 2 // the options that we send
	AccECNFailOptionRecv AccECNFailure = 1 << 3 // the options that the peer sends
)

// Has reports whether f has all of x.
func (f AccECNFailure) Has(x AccECNFailure) bool { return f&x == x }

// String lists the failures, "ACESend|OptionRecv"; "none" for the empty set.
func (f AccECNFailure) String() string { return string(f.append(nil)) }

func (f AccECNFailure) append(b []byte) []byte {
	return appendSet(b, f, "AccECNFailure", "ACESend", "ACERecv", "OptionSend", "OptionRecv")
}
