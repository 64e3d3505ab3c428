package tcpstate

import (
	"strconv"
	"strings"
)

// State is the state of a TCP connection, by the kernel's number. The zero
// State is no state: no socket has it. Any value of a byte is allowed; those
// without a name are kept as they are and print as "State(42)".
type State uint8

// The states of Linux. The numbers are from include/net/tcp_states.h; the
// meanings are those of RFC 9293, section 3.3.2, except where a comment says
// what Linux does differently.
const (
	// Established is an open connection: data flows both ways.
	Established State = 1

	// SynSent is a connect() that has sent its SYN and waits for an answer.
	SynSent State = 2

	// SynRecv is a connection whose SYN was answered and whose final ACK is
	// awaited; RFC 9293 calls it SYN-RECEIVED. Nearly always it is a
	// request socket, a small object without owner or inode that has no
	// process yet. A full socket is in this state only after a simultaneous
	// open or as the child of TCP Fast Open.
	SynRecv State = 3

	// FinWait1 is a connection that was closed on this side first and whose
	// FIN is not acknowledged yet, be it because unsent data still stands
	// before it.
	FinWait1 State = 4

	// FinWait2 is a connection that was closed on this side first: the FIN
	// is acknowledged, the peer's FIN has not come. RFC 9293 lets it last
	// for ever. So does Linux while a process holds the socket; once nobody
	// does, the kernel keeps it as a mini-socket beside those of TIME_WAIT
	// and drops it after tcp_fin_timeout.
	FinWait2 State = 5

	// TimeWait is a connection that is over and only keeps its addresses
	// and ports from being used again too early. Linux holds it for 60
	// seconds, a constant of the kernel (RFC 9293 asks for four minutes),
	// in a mini-socket without owner or inode.
	TimeWait State = 6

	// Closed is a socket that is not connected; the kernel and netstat
	// spell it CLOSE. The kernel keeps closed TCP sockets in no table, so a
	// mask with only this state selects none. It is seen in the event of a
	// socket that is going away, in a row that changed while it was being
	// dumped, and for UDP. See [BoundInactive] for the sockets that the
	// kernel reports as Closed but selects by another number.
	Closed State = 7

	// CloseWait is a connection that the peer has closed and this side has
	// not. It lasts until the local process closes its socket: no timer of
	// the kernel ends it.
	CloseWait State = 8

	// LastAck is a connection that the peer closed first, then this side,
	// and whose FIN is not acknowledged yet.
	LastAck State = 9

	// Listen is a socket that waits for connections.
	Listen State = 10

	// Closing is a connection that both sides closed at the same time: each
	// has the other's FIN, and this side's is not acknowledged yet.
	Closing State = 11

	// NewSynRecv is the kernel's own number for a request socket. In a mask
	// it selects only those, and SynRecv selects them too; replies never
	// have it, because the kernel reports a request socket as SynRecv.
	NewSynRecv State = 12

	// BoundInactive is a socket that is bound to a port but neither listens
	// nor is connected. Since Linux 6.8 a mask with this state selects
	// them, and the kernel reports them as Closed; older kernels select
	// nothing.
	BoundInactive State = 13
)

// names holds the spelling of the kernel and of netstat.
var names = [...]string{
	Established:   "ESTABLISHED",
	SynSent:       "SYN_SENT",
	SynRecv:       "SYN_RECV",
	FinWait1:      "FIN_WAIT1",
	FinWait2:      "FIN_WAIT2",
	TimeWait:      "TIME_WAIT",
	Closed:        "CLOSE",
	CloseWait:     "CLOSE_WAIT",
	LastAck:       "LAST_ACK",
	Listen:        "LISTEN",
	Closing:       "CLOSING",
	NewSynRecv:    "NEW_SYN_RECV",
	BoundInactive: "BOUND_INACTIVE",
}

// Valid reports whether s is a state that this package has a name for. A state
// that is not valid may still be real: a newer kernel may have more of them.
func (s State) Valid() bool {
	return s >= Established && s <= BoundInactive
}

// String returns the name as the kernel and netstat spell it, such as
// "TIME_WAIT", "CLOSE" or "BOUND_INACTIVE", and "State(42)" for a number
// without a name. [Parse] takes back either.
func (s State) String() string {
	if s.Valid() {
		return names[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// AppendText appends what String returns. It implements
// [encoding.TextAppender], allocates nothing when b has room, and never returns
// an error.
func (s State) AppendText(b []byte) ([]byte, error) {
	return s.append(b), nil
}

func (s State) append(b []byte) []byte {
	if s.Valid() {
		return append(b, names[s]...)
	}
	b = append(b, "State("...)
	b = strconv.AppendUint(b, uint64(s), 10)
	return append(b, ')')
}

// MarshalText returns what String returns. It implements
// [encoding.TextMarshaler], and never returns an error: a State without a name
// has a text too.
func (s State) MarshalText() ([]byte, error) {
	return s.append(nil), nil
}

// UnmarshalText sets s to what [Parse] reads from text. It implements
// [encoding.TextUnmarshaler]; after an error s is unchanged.
func (s *State) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Set returns the set of s alone. It is empty for State(32) and above, which no
// set can hold.
func (s State) Set() Set {
	return Set(1) << s
}

// longestName bounds what Parse looks at: nothing longer than this is a state.
// The longest is TCP_BOUND_INACTIVE.
const longestName = 24

// Parse reads the name of a state, in any case and with space around it. It
// takes
//
//   - the spelling of the kernel and of netstat: TIME_WAIT, SYN_RECV,
//     FIN_WAIT1, CLOSE, also with the TCP_ in front that the kernel's constants
//     and trace points have;
//   - that of RFC 9293: TIME-WAIT, SYN-RECEIVED, FIN-WAIT-1, CLOSED;
//   - that of ss, in its output and in its filters: ESTAB, UNCONN, LISTENING,
//     SYN-RECV;
//   - that of the BSDs and macOS: SYN_RCVD, FIN_WAIT_1;
//   - the two hexadecimal digits of the st column of /proc/net/tcp, 01 to 0D
//     and no others; as all of them start with a zero they cannot be taken for
//     a decimal number with another meaning;
//   - what [State.String] prints for a number without a name: State(42), from
//     State(0) to State(255).
//
// Hyphen and underscore are the same. Anything else is a [*ParseError].
func Parse(s string) (State, error) {
	trimmed := strings.TrimSpace(s)
	if len(trimmed) <= longestName {
		if st, ok := parseName(trimmed); ok {
			return st, nil
		}
	}
	return 0, &ParseError{Text: s, Want: "a state such as TIME_WAIT, TIME-WAIT, ESTAB or State(42)"}
}

// parseName reads one trimmed name of at most longestName bytes.
func parseName(s string) (State, bool) {
	var buf [longestName]byte
	n := copy(buf[:], s)
	for i, c := range buf[:n] {
		switch {
		case c == '-':
			buf[i] = '_'
		case 'a' <= c && c <= 'z':
			buf[i] = c - 'a' + 'A'
		}
	}
	name := string(buf[:n])

	if num, ok := strings.CutPrefix(name, "STATE("); ok {
		num, closed := strings.CutSuffix(num, ")")
		v, err := strconv.ParseUint(num, 10, 8)
		return State(v), closed && err == nil
	}
	if len(name) == 2 && name[0] == '0' {
		v, err := strconv.ParseUint(name, 16, 8)
		return State(v), err == nil && State(v).Valid()
	}
	switch strings.TrimPrefix(name, "TCP_") {
	case "ESTABLISHED", "ESTAB":
		return Established, true
	case "SYN_SENT":
		return SynSent, true
	case "SYN_RECV", "SYN_RECEIVED", "SYN_RCVD", "SYN_RCV":
		return SynRecv, true
	case "FIN_WAIT1", "FIN_WAIT_1":
		return FinWait1, true
	case "FIN_WAIT2", "FIN_WAIT_2":
		return FinWait2, true
	case "TIME_WAIT":
		return TimeWait, true
	case "CLOSE", "CLOSED", "UNCONN", "UNCONNECTED":
		return Closed, true
	case "CLOSE_WAIT":
		return CloseWait, true
	case "LAST_ACK":
		return LastAck, true
	case "LISTEN", "LISTENING":
		return Listen, true
	case "CLOSING":
		return Closing, true
	case "NEW_SYN_RECV":
		return NewSynRecv, true
	case "BOUND_INACTIVE":
		return BoundInactive, true
	}
	return 0, false
}

// ParseError is the error of [Parse], [ParseSet] and the methods that
// unmarshal: a text that names no state.
type ParseError struct {
	Text string // what was not understood, whole; of a list, the item
	Want string // what was expected, for people; may change
}

// Error says what was found and what was expected. Of a long text it shows the
// beginning.
func (e *ParseError) Error() string {
	text, more := e.Text, ""
	if len(text) > 40 {
		text, more = text[:40], "..."
	}
	return "tcpstate: " + strconv.Quote(text) + more + " is not " + e.Want
}
