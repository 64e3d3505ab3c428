package sockdiag

import (
	"bytes"
	"strconv"
	"strings"
)

// TextError is the error of the UnmarshalText methods: a text that names no value
// of the type.
type TextError struct {
	Text string // what was not understood, whole; of a set, the item
	Want string // what was expected, for people; may change
}

// Error says what was found and what was expected. Of a long text it shows the
// beginning.
func (e *TextError) Error() string {
	return "sockdiag: " + quote(e.Text) + " is not " + e.Want
}

// quote shows the beginning of a text.
func quote(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "..."
	}
	return strconv.Quote(s)
}

// parseEnum finds the value that String gives the text for: one of those that have
// a name, in any case, or "Type(42)".
func parseEnum[T interface {
	~uint8 | ~uint16
	String() string
}](v *T, text []byte, typ, want string, named ...T) error {
	s := strings.TrimSpace(string(text))
	for _, x := range named {
		if strings.EqualFold(x.String(), s) {
			*v = x
			return nil
		}
	}
	if len(s) > len(typ) && strings.EqualFold(s[:len(typ)], typ) {
		number, opened := strings.CutPrefix(s[len(typ):], "(")
		number, closed := strings.CutSuffix(number, ")")
		if n, err := strconv.ParseUint(number, 10, 16); opened && closed && err == nil && uint64(T(n)) == n {
			*v = T(n)
			return nil
		}
	}
	return &TextError{Text: string(text), Want: want}
}

// parseSet is parseEnum for sets: the items of the text are bits.
func parseSet[T interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
	append([]byte) []byte
}](v *T, text []byte, want string) error {
	if strings.EqualFold(string(bytes.TrimSpace(text)), "none") {
		*v = 0
		return nil
	}
	var set T
	var buf [40]byte
items:
	for item := range bytes.SplitSeq(text, []byte{'|'}) {
		for bit := T(1); bit != 0; bit <<= 1 {
			if bytes.EqualFold(bit.append(buf[:0]), bytes.TrimSpace(item)) {
				set |= bit
				continue items
			}
		}
		return &TextError{Text: string(item), Want: want}
	}
	*v = set
	return nil
}

// What follows gives each type the three methods of package encoding.

// AppendText appends what String returns. It never returns an error.
func (f Family) AppendText(b []byte) ([]byte, error) { return append(b, f.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves f as it was.
func (f *Family) UnmarshalText(text []byte) error {
	return parseEnum(f, text, "Family", "a Family such as IPv4 or Family(42)", IPv4, IPv6)
}

// AppendText appends what String returns. It never returns an error.
func (p Protocol) AppendText(b []byte) ([]byte, error) { return append(b, p.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves p as it was.
func (p *Protocol) UnmarshalText(text []byte) error {
	return parseEnum(p, text, "Protocol", "a Protocol such as TCP or Protocol(42)", TCP, UDP, SCTP, UDPLite, Raw, MPTCP)
}

// AppendText appends what String returns. It never returns an error.
func (k TimerKind) AppendText(b []byte) ([]byte, error) { return append(b, k.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (k TimerKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves k as it was.
func (k *TimerKind) UnmarshalText(text []byte) error {
	return parseEnum(k, text, "TimerKind", "a TimerKind such as keepalive or TimerKind(42)", TimerNone, TimerRetransmit, TimerKeepalive, TimerTimeWait, TimerProbe, TimerDelayedACK)
}

// AppendText appends what String returns. It never returns an error.
func (s Shutdown) AppendText(b []byte) ([]byte, error) { return append(b, s.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (s Shutdown) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves s as it was.
func (s *Shutdown) UnmarshalText(text []byte) error {
	return parseEnum(s, text, "Shutdown", "a Shutdown such as recv|send or Shutdown(42)", 0, ShutdownRecv, ShutdownSend, ShutdownRecv|ShutdownSend)
}

// AppendText appends what String returns. It never returns an error.
func (c TLSConf) AppendText(b []byte) ([]byte, error) { return append(b, c.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (c TLSConf) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves c as it was.
func (c *TLSConf) UnmarshalText(text []byte) error {
	return parseEnum(c, text, "TLSConf", "a TLSConf such as software or TLSConf(9)", 0, TLSConfBase, TLSConfSoftware, TLSConfDevice, TLSConfRecord)
}

// AppendText appends what String returns. It never returns an error.
func (s CAState) AppendText(b []byte) ([]byte, error) { return append(b, s.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (s CAState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves s as it was.
func (s *CAState) UnmarshalText(text []byte) error {
	return parseEnum(s, text, "CAState", "a CAState such as Recovery or CAState(9)", CAOpen, CADisorder, CACWR, CARecovery, CALoss)
}

// AppendText appends what String returns. It never returns an error.
func (f FastOpenFailure) AppendText(b []byte) ([]byte, error) { return append(b, f.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (f FastOpenFailure) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves f as it was.
func (f *FastOpenFailure) UnmarshalText(text []byte) error {
	return parseEnum(f, text, "FastOpenFailure", "a FastOpenFailure such as DataNotAcked or FastOpenFailure(4)", FastOpenUnspecified, FastOpenCookieUnavailable, FastOpenDataNotAcked, FastOpenSYNRetransmitted)
}

// AppendText appends what String returns. It never returns an error.
func (m ECNMode) AppendText(b []byte) ([]byte, error) { return append(b, m.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (m ECNMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves m as it was.
func (m *ECNMode) UnmarshalText(text []byte) error {
	return parseEnum(m, text, "ECNMode", "an ECNMode such as AccECN or ECNMode(7)", ECNModeUnknown, ECNModeDisabled, ECNModeRFC3168, ECNModeAccECN, ECNModePending)
}

// AppendText appends what String returns. It never returns an error.
func (o AccECNOption) AppendText(b []byte) ([]byte, error) { return append(b, o.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (o AccECNOption) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves o as it was.
func (o *AccECNOption) UnmarshalText(text []byte) error {
	return parseEnum(o, text, "AccECNOption", "an AccECNOption such as Counter or AccECNOption(4)", AccECNOptionNotSeen, AccECNOptionEmpty, AccECNOptionCounter, AccECNOptionFail)
}

// AppendText appends what String returns. It never returns an error.
func (k NoticeKind) AppendText(b []byte) ([]byte, error) { return append(b, k.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (k NoticeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves k as it was.
func (k *NoticeKind) UnmarshalText(text []byte) error {
	return parseEnum(k, text, "NoticeKind", "a NoticeKind such as SocketClosed or NoticeKind(9)", SocketClosed, Lost)
}

// AppendText appends what String returns. It never returns an error.
func (a Attrs) AppendText(b []byte) ([]byte, error) { return a.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (a Attrs) MarshalText() ([]byte, error) { return a.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves a as it was.
func (a *Attrs) UnmarshalText(text []byte) error {
	return parseSet(a, text, "one of Attrs such as MemInfo|TCPInfo or Attr(22)")
}

// AppendText appends what String returns. It never returns an error.
func (o SocketOptions) AppendText(b []byte) ([]byte, error) { return o.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (o SocketOptions) MarshalText() ([]byte, error) { return o.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves o as it was.
func (o *SocketOptions) UnmarshalText(text []byte) error {
	return parseSet(o, text, "one of SocketOptions such as RecvErr|Freebind or SocketOptions(15)")
}

// AppendText appends what String returns. It never returns an error.
func (o TCPOptions) AppendText(b []byte) ([]byte, error) { return o.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (o TCPOptions) MarshalText() ([]byte, error) { return o.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves o as it was.
func (o *TCPOptions) UnmarshalText(text []byte) error {
	return parseSet(o, text, "one of TCPOptions such as Timestamps|SACK")
}

// AppendText appends what String returns. It never returns an error.
func (f AccECNFailure) AppendText(b []byte) ([]byte, error) { return f.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (f AccECNFailure) MarshalText() ([]byte, error) { return f.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves f as it was.
func (f *AccECNFailure) UnmarshalText(text []byte) error {
	return parseSet(f, text, "one of AccECNFailure such as ACESend|OptionRecv")
}

// AppendText appends what String returns. It never returns an error.
func (s SCTPState) AppendText(b []byte) ([]byte, error) { return append(b, s.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (s SCTPState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves s as it was.
func (s *SCTPState) UnmarshalText(text []byte) error {
	return parseEnum(s, text, "SCTPState", "an SCTPState such as COOKIE_WAIT or SCTPState(42)", 0, SCTPClosed, SCTPCookieWait, SCTPCookieEchoed, SCTPEstablished,
		SCTPShutdownPending, SCTPShutdownSent, SCTPShutdownReceived, SCTPShutdownAckSent)
}

// AppendText appends what String returns. It never returns an error.
func (s SCTPEndpointState) AppendText(b []byte) ([]byte, error) { return append(b, s.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (s SCTPEndpointState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves s as it was.
func (s *SCTPEndpointState) UnmarshalText(text []byte) error {
	return parseEnum(s, text, "SCTPEndpointState", "an SCTPEndpointState such as LISTENING or SCTPEndpointState(42)", 0, SCTPEndpointEstablished,
		SCTPEndpointEstablishing, SCTPEndpointClosed, SCTPEndpointClosing, SCTPEndpointListening)
}

// AppendText appends what String returns. It never returns an error.
func (s SCTPPathState) AppendText(b []byte) ([]byte, error) { return append(b, s.String()...), nil }

// MarshalText returns what String returns. It never returns an error.
func (s SCTPPathState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves s as it was.
func (s *SCTPPathState) UnmarshalText(text []byte) error {
	return parseEnum(s, text, "SCTPPathState", "an SCTPPathState such as ACTIVE or SCTPPathState(42)", SCTPPathInactive,
		SCTPPathPotentiallyFailed, SCTPPathActive, SCTPPathUnconfirmed)
}

// AppendText appends what String returns. It never returns an error.
func (c SCTPCapabilities) AppendText(b []byte) ([]byte, error) { return c.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (c SCTPCapabilities) MarshalText() ([]byte, error) { return c.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves c as it was.
func (c *SCTPCapabilities) UnmarshalText(text []byte) error {
	return parseSet(c, text, "one of SCTPCapabilities such as Auth|IPv4")
}

// AppendText appends what String returns. It never returns an error.
func (f MPTCPFlags) AppendText(b []byte) ([]byte, error) { return f.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (f MPTCPFlags) MarshalText() ([]byte, error) { return f.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves f as it was.
func (f *MPTCPFlags) UnmarshalText(text []byte) error {
	return parseSet(f, text, "one of MPTCPFlags such as Fallback|RemoteKey")
}

// AppendText appends what String returns. It never returns an error.
func (f MPTCPFields) AppendText(b []byte) ([]byte, error) { return f.append(b), nil }

// MarshalText returns what String returns. It never returns an error.
func (f MPTCPFields) MarshalText() ([]byte, error) { return f.append(nil), nil }

// UnmarshalText takes back what String returns, in any case. The error is a
// *TextError, and leaves f as it was.
func (f *MPTCPFields) UnmarshalText(text []byte) error {
	return parseSet(f, text, "one of MPTCPFields such as LocalAddr|Traffic")
}
