package tcpstate

import (
	"strconv"
	"strings"
)

// Event is something that happens to a socket and may change its state: a call
// of the program, a segment that arrives, a timer that expires. The zero Event
// is no event. Any value of a byte is allowed; those without a name print as
// "Event(42)". Unlike states, events have no number in the kernel: the numbers
// are of this package, and the names are what to store.
//
// A segment counts as received when TCP accepts it: in order, inside the window,
// and with an acknowledgment that fits. What TCP drops or only answers with an
// ACK is no event.
type Event uint8

// The events, those of the program first, then segments, then what the kernel
// does on its own.
const (
	// Bind is bind(2): the socket gets a port.
	Bind Event = iota + 1

	// PassiveOpen is listen(2).
	PassiveOpen

	// ActiveOpen is connect(2).
	ActiveOpen

	// Close is close(2), or shutdown(2) for writing: no more data will be sent.
	// For a listener it is close, or shutdown for reading. A close that loses
	// data is an Abort instead.
	Close

	// Abort ends the connection at once: close with SO_LINGER 0 or with unread
	// data, connect to AF_UNSPEC, which keeps the socket, SOCK_DESTROY (ss -K),
	// or a kernel that is short of memory for orphans.
	Abort

	// RecvSYN is a SYN without an ACK.
	RecvSYN

	// RecvSYNACK is a SYN that acknowledges ours.
	RecvSYNACK

	// RecvACK is an acknowledgment of our SYN or of our FIN.
	RecvACK

	// RecvFIN is a FIN that does not acknowledge a SYN or FIN of ours that was
	// still unacknowledged.
	RecvFIN

	// RecvFINACK is a FIN that does.
	RecvFINACK

	// RecvData is new data that nobody can read any more, because the socket
	// was closed or shut down for reading. Other data changes no state.
	RecvData

	// RecvRST is a RST.
	RecvRST

	// RecvUnreachable is an ICMP message that the network or the host of the
	// peer cannot be reached.
	RecvUnreachable

	// Timeout is the last expiry of a timer: of retransmission, keepalive, the
	// user timeout, FIN_WAIT2 (tcp_fin_timeout) or TIME_WAIT.
	Timeout

	// Reuse is a connect of another socket of this host with the same two
	// addresses and ports, which takes them over.
	Reuse

	// Overflow is a mini-socket that would be due and is refused, because the
	// namespace has tcp_max_tw_buckets of them (TCPTimeWaitOverflow).
	Overflow
)

var eventNames = [...]string{
	Bind:            "Bind",
	PassiveOpen:     "PassiveOpen",
	ActiveOpen:      "ActiveOpen",
	Close:           "Close",
	Abort:           "Abort",
	RecvSYN:         "RecvSYN",
	RecvSYNACK:      "RecvSYNACK",
	RecvACK:         "RecvACK",
	RecvFIN:         "RecvFIN",
	RecvFINACK:      "RecvFINACK",
	RecvData:        "RecvData",
	RecvRST:         "RecvRST",
	RecvUnreachable: "RecvUnreachable",
	Timeout:         "Timeout",
	Reuse:           "Reuse",
	Overflow:        "Overflow",
}

// Valid reports whether e is an event that this package has a name for.
func (e Event) Valid() bool {
	return e >= Bind && e <= Overflow
}

// String returns the name of the constant, such as "RecvFINACK", and
// "Event(42)" for a number without a name. [ParseEvent] takes back either.
func (e Event) String() string {
	if e.Valid() {
		return eventNames[e]
	}
	return "Event(" + strconv.Itoa(int(e)) + ")"
}

// AppendText appends what String returns. It implements
// [encoding.TextAppender], allocates nothing when b has room, and never returns
// an error.
func (e Event) AppendText(b []byte) ([]byte, error) {
	if e.Valid() {
		return append(b, eventNames[e]...), nil
	}
	b = append(b, "Event("...)
	b = strconv.AppendUint(b, uint64(e), 10)
	return append(b, ')'), nil
}

// MarshalText returns what String returns. It implements
// [encoding.TextMarshaler], and never returns an error.
func (e Event) MarshalText() ([]byte, error) {
	return e.AppendText(nil)
}

// UnmarshalText sets e to what [ParseEvent] reads from text. It implements
// [encoding.TextUnmarshaler]; after an error e is unchanged.
func (e *Event) UnmarshalText(text []byte) error {
	parsed, err := ParseEvent(string(text))
	if err != nil {
		return err
	}
	*e = parsed
	return nil
}

// ParseEvent reads what [Event.String] returns, in any case and with space
// around it: RecvSYN, timeout, Event(42). Anything else is a [*ParseError].
func ParseEvent(s string) (Event, error) {
	trimmed := strings.TrimSpace(s)
	for e := Bind; e.Valid(); e++ {
		if strings.EqualFold(trimmed, eventNames[e]) {
			return e, nil
		}
	}
	const prefix = "event("
	if n := len(prefix); len(trimmed) > n && strings.EqualFold(trimmed[:n], prefix) {
		num, closed := strings.CutSuffix(trimmed[n:], ")")
		if v, err := strconv.ParseUint(num, 10, 8); err == nil && closed {
			return Event(v), nil
		}
	}
	return 0, &ParseError{Text: s, Want: "an event such as RecvFIN, Timeout or Event(42)"}
}
