package tcpstate

import (
	"iter"
	"math/bits"
	"strings"
	"unicode"
)

// Set is a set of states. Bit n is the state with number n, so that a Set is
// the idiag_states mask that the kernel expects in a sock_diag request. States
// 0 to 31 fit, and no kernel can have others: its mask has 32 bits as well. The
// zero Set is empty. Sets are values: |, &, &^ and == work on them as on any
// integer.
type Set uint32

// All has every bit, also those that no state has a name for yet, so that the
// states of a newer kernel are not lost. The kernel ignores the bits that it
// does not know.
const All = ^Set(0)

// The groups of ss(8). Like [All] they are made by taking away from all the
// states those that do not belong, so Connected, Synchronized and Big have the
// bits of unknown states as well; Bucket has only what it names.
const (
	// Connected is every state of a socket that has, had or is about to
	// have a peer: all but Closed, Listen and BoundInactive, which the
	// kernel reports as CLOSE.
	Connected = All &^ (1<<Closed | 1<<Listen | 1<<BoundInactive)

	// Synchronized is Connected without SynSent, as ss(8) has it: the peer
	// has sent at least one segment. RFC 9293 does not count SYN-RECEIVED
	// among its synchronized states.
	Synchronized = Connected &^ (1 << SynSent)

	// Bucket is the states of mini-sockets: TimeWait and SynRecv, and
	// NewSynRecv, the kernel's own number for most of what it reports as
	// SynRecv. A FIN_WAIT2 that nobody owns is a mini-socket too, but the
	// kernel selects it together with the full ones, so it is not in this
	// group.
	Bucket Set = 1<<SynRecv | 1<<NewSynRecv | 1<<TimeWait

	// Big is All without Bucket: the full sockets, and the FIN_WAIT2
	// mini-sockets that the kernel selects together with them.
	Big = All &^ Bucket
)

// unnamed is every state that no name is known for.
const unnamed = All &^ (1<<(BoundInactive+1) - 1<<Established)

// openGroups are the sets with a name that have every unnamed state.
var openGroups = [...]struct {
	name string
	set  Set
}{
	{"all", All},
	{"connected", Connected},
	{"synchronized", Synchronized},
	{"big", Big},
}

// SetOf returns the set of the given states. States above 31 are left out, as
// [Set.With] does.
func SetOf(states ...State) Set {
	return Set(0).With(states...)
}

// ParseSet reads a list of states, separated by commas, white space or both. An
// item is a state in any spelling that [Parse] takes, or a group: all,
// connected, synchronized, bucket, big, or none for no state; each in any case.
// Items are taken from left to right and add what they name. With a ! right
// before it an item takes away instead, so that "all,!TIME_WAIT" is every state
// but one.
//
// The list "none" gives the empty set, and so does one whose states are all
// taken away again. sockdiag.Query takes an empty set for all states, so check
// for it before querying.
//
// A list without items is an error, because it is more often a value that was
// forgotten than a wish for nothing. So is one that begins with a !, because it
// would take away from nothing, and a state above 31, which no set can hold.
// Every error is a [*ParseError].
func ParseSet(s string) (Set, error) {
	var set Set
	items := 0
	for item := range strings.FieldsFuncSeq(s, isSeparator) {
		items++
		name, takeAway := strings.CutPrefix(item, "!")
		if takeAway && items == 1 {
			return 0, &ParseError{Text: item, Want: "a first item: begin with all, as in all,!TIME_WAIT"}
		}
		one, want := parseItem(name)
		switch {
		case want != "":
			return 0, &ParseError{Text: item, Want: want}
		case takeAway:
			set &^= one
		default:
			set |= one
		}
	}
	if items == 0 {
		return 0, &ParseError{Text: s, Want: "a list of states (none is the empty set)"}
	}
	return set, nil
}

func isSeparator(r rune) bool {
	return r == ',' || unicode.IsSpace(r)
}

// parseItem reads a state or a group. If it is neither, want says what it
// should have been.
func parseItem(name string) (set Set, want string) {
	for _, g := range openGroups {
		if strings.EqualFold(name, g.name) {
			return g.set, ""
		}
	}
	switch {
	case strings.EqualFold(name, "bucket"):
		return Bucket, ""
	case strings.EqualFold(name, "none"):
		return 0, ""
	}
	st, err := Parse(name)
	switch {
	case err != nil:
		return 0, "a state (TIME_WAIT, TIME-WAIT, ESTAB) or one of all, connected, synchronized, bucket, big, none"
	case st.Set() == 0:
		return 0, "a state that a set can hold (0 to 31)"
	}
	return st.Set(), ""
}

// Has reports whether x is in the set. It is false for State(32) and above.
func (s Set) Has(x State) bool {
	return s&x.Set() != 0
}

// With returns the set with the given states added. States above 31 are left
// out: no set can hold them.
func (s Set) With(states ...State) Set {
	for _, x := range states {
		s |= x.Set()
	}
	return s
}

// Without returns the set with the given states taken away. States above 31
// change nothing.
func (s Set) Without(states ...State) Set {
	for _, x := range states {
		s &^= x.Set()
	}
	return s
}

// Len returns the number of states in the set, those without a name included:
// that of [All] is 32.
func (s Set) Len() int {
	return bits.OnesCount32(uint32(s))
}

// States yields the states of the set in the order of their numbers, those
// without a name included. The sequence can be ranged over any number of times.
func (s Set) States() iter.Seq[State] {
	return func(yield func(State) bool) {
		for rest := s; rest != 0; rest &= rest - 1 {
			if !yield(State(bits.TrailingZeros32(uint32(rest)))) {
				return
			}
		}
	}
}

// String returns the names of the states in the order of their numbers, with
// commas between them, such as "FIN_WAIT2,TIME_WAIT". The empty set is "none".
// A set that has every state without a name is written as its group, "all",
// "connected", "synchronized" or "big", or else as "all" and what it lacks,
// such as "all,!TIME_WAIT". [ParseSet] takes back each.
func (s Set) String() string {
	return string(s.append(nil))
}

// AppendText appends what String returns. It implements
// [encoding.TextAppender], allocates nothing when b has room, and never returns
// an error.
func (s Set) AppendText(b []byte) ([]byte, error) {
	return s.append(b), nil
}

func (s Set) append(b []byte) []byte {
	if s == 0 {
		return append(b, "none"...)
	}
	for _, g := range openGroups {
		if s == g.set {
			return append(b, g.name...)
		}
	}
	if s&unnamed == unnamed {
		b = append(b, "all"...)
		for st := range (^s).States() {
			b = append(b, ",!"...)
			b = st.append(b)
		}
		return b
	}
	start := len(b)
	for st := range s.States() {
		if len(b) > start {
			b = append(b, ',')
		}
		b = st.append(b)
	}
	return b
}

// MarshalText returns what String returns. It implements
// [encoding.TextMarshaler] and never returns an error.
func (s Set) MarshalText() ([]byte, error) {
	return s.append(nil), nil
}

// UnmarshalText sets s to what [ParseSet] reads from text. It implements
// [encoding.TextUnmarshaler]; after an error s is unchanged.
func (s *Set) UnmarshalText(text []byte) error {
	parsed, err := ParseSet(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
