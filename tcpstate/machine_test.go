package tcpstate_test

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// rfc9293 is the state machine of RFC 9293, written down from its text: figure 5 with its notes, and the event processing
// of section 3.10. SYN-RECEIVED is a state of its own where it differs between a passive and an active open.
var rfc9293 = []struct {
	section, from, event, to string
}{
	{"figure 5, 3.10.1", "CLOSED", "passive OPEN", "LISTEN"},
	{"figure 5, 3.10.1", "CLOSED", "active OPEN", "SYN-SENT"},

	{"3.10.1", "LISTEN", "active OPEN", "SYN-SENT"},
	{"figure 5, 3.10.4", "LISTEN", "CLOSE", "CLOSED"},
	{"3.10.5", "LISTEN", "ABORT", "CLOSED"},
	{"figure 5, 3.10.7.2", "LISTEN", "rcv SYN", "SYN-RECEIVED"},
	{"3.10.7.2", "LISTEN", "rcv ACK", "LISTEN"}, // <SEQ=SEG.ACK><CTL=RST>

	{"figure 5, 3.10.4", "SYN-SENT", "CLOSE", "CLOSED"},
	{"3.10.5", "SYN-SENT", "ABORT", "CLOSED"},
	{"figure 5, 3.10.7.3", "SYN-SENT", "rcv SYN", "SYN-RECEIVED"},
	{"figure 5, 3.10.7.3", "SYN-SENT", "rcv SYN,ACK", "ESTABLISHED"},
	{"3.10.7.3", "SYN-SENT", "rcv RST", "CLOSED"},
	{"3.9.2.2", "SYN-SENT", "ICMP host unreachable", "SYN-SENT"},
	{"3.10.8", "SYN-SENT", "timeout", "CLOSED"},

	{"3.10.5", "SYN-RECEIVED, passive", "ABORT", "CLOSED"},
	{"3.10.7.4", "SYN-RECEIVED, passive", "rcv SYN", "SYN-RECEIVED"}, // again: not acceptable, <CTL=ACK>
	{"figure 5, 3.10.7.4", "SYN-RECEIVED, passive", "rcv ACK", "ESTABLISHED"},
	{"3.10.7.4", "SYN-RECEIVED, passive", "rcv FIN,ACK", "CLOSE-WAIT"},
	{"figure 5 note 1, 3.10.7.4", "SYN-RECEIVED, passive", "rcv RST", "LISTEN"},
	{"3.9.2.2", "SYN-RECEIVED, passive", "ICMP host unreachable", "SYN-RECEIVED"},
	{"3.10.8", "SYN-RECEIVED, passive", "timeout", "CLOSED"},

	{"figure 5, 3.10.4", "SYN-RECEIVED, active", "CLOSE", "FIN-WAIT-1"},
	{"3.10.5", "SYN-RECEIVED, active", "ABORT", "CLOSED"},
	{"figure 7", "SYN-RECEIVED, active", "rcv SYN,ACK", "ESTABLISHED"},
	{"figure 5, 3.10.7.4", "SYN-RECEIVED, active", "rcv ACK", "ESTABLISHED"},
	{"3.10.7.4", "SYN-RECEIVED, active", "rcv FIN,ACK", "CLOSE-WAIT"},
	{"3.10.7.4", "SYN-RECEIVED, active", "rcv RST", "CLOSED"},
	{"3.9.2.2", "SYN-RECEIVED, active", "ICMP host unreachable", "SYN-RECEIVED"},
	{"3.10.8", "SYN-RECEIVED, active", "timeout", "CLOSED"},

	{"figure 5, 3.10.4", "ESTABLISHED", "CLOSE", "FIN-WAIT-1"},
	{"3.10.5", "ESTABLISHED", "ABORT", "CLOSED"},
	{"figure 5, 3.10.7.4", "ESTABLISHED", "rcv FIN", "CLOSE-WAIT"},
	{"3.10.7.4", "ESTABLISHED", "rcv RST", "CLOSED"},
	{"3.10.8", "ESTABLISHED", "timeout", "CLOSED"},

	{"3.10.4", "FIN-WAIT-1", "CLOSE", "FIN-WAIT-1"}, // an error
	{"3.10.5", "FIN-WAIT-1", "ABORT", "CLOSED"},
	{"figure 5, 3.10.7.4", "FIN-WAIT-1", "rcv ACK", "FIN-WAIT-2"},
	{"figure 5, 3.10.7.4", "FIN-WAIT-1", "rcv FIN", "CLOSING"},
	{"figure 5 note 2, 3.10.7.4", "FIN-WAIT-1", "rcv FIN,ACK", "TIME-WAIT"},
	{"3.6.1", "FIN-WAIT-1", "rcv data after CLOSE", "CLOSED"},
	{"3.10.7.4", "FIN-WAIT-1", "rcv RST", "CLOSED"},
	{"3.10.8", "FIN-WAIT-1", "timeout", "CLOSED"},

	{"3.10.4", "FIN-WAIT-2", "CLOSE", "FIN-WAIT-2"}, // an error, or ok
	{"3.10.5", "FIN-WAIT-2", "ABORT", "CLOSED"},
	{"3.10.7.4", "FIN-WAIT-2", "rcv SYN", "FIN-WAIT-2"}, // a challenge ACK, of RFC 5961
	{"figure 5, 3.10.7.4", "FIN-WAIT-2", "rcv FIN", "TIME-WAIT"},
	{"3.6.1", "FIN-WAIT-2", "rcv data after CLOSE", "CLOSED"},
	{"3.10.7.4", "FIN-WAIT-2", "rcv RST", "CLOSED"},
	{"3.6", "FIN-WAIT-2", "timeout", "FIN-WAIT-2"}, // there is none
	{"3.10.1", "FIN-WAIT-2", "OPEN of the same connection", "FIN-WAIT-2"},

	{"3.10.5", "CLOSING", "ABORT", "CLOSED"},
	{"figure 5, 3.10.7.4", "CLOSING", "rcv ACK", "TIME-WAIT"},
	{"3.10.7.4", "CLOSING", "rcv RST", "CLOSED"},
	{"3.10.8", "CLOSING", "timeout", "CLOSED"},

	{"3.10.5", "TIME-WAIT", "ABORT", "CLOSED"},
	{"3.6.1, 3.10.7.4", "TIME-WAIT", "rcv SYN", "SYN-RECEIVED"}, // MAY-2
	{"3.10.7.4", "TIME-WAIT", "rcv FIN", "TIME-WAIT"},           // restarts the timeout
	{"3.10.7.4", "TIME-WAIT", "rcv RST", "CLOSED"},
	{"figure 5, 3.10.8", "TIME-WAIT", "timeout", "CLOSED"},
	{"3.10.1", "TIME-WAIT", "OPEN of the same connection", "TIME-WAIT"},

	{"figure 5, 3.10.4", "CLOSE-WAIT", "CLOSE", "LAST-ACK"},
	{"3.10.5", "CLOSE-WAIT", "ABORT", "CLOSED"},
	{"3.10.7.4", "CLOSE-WAIT", "rcv RST", "CLOSED"},
	{"3.10.8", "CLOSE-WAIT", "timeout", "CLOSED"},

	{"3.10.5", "LAST-ACK", "ABORT", "CLOSED"},
	{"figure 5, 3.10.7.4", "LAST-ACK", "rcv ACK", "CLOSED"},
	{"3.10.7.4", "LAST-ACK", "rcv RST", "CLOSED"},
	{"3.10.8", "LAST-ACK", "timeout", "CLOSED"},
}

// rfcEvents are the events by the words above.
var rfcEvents = map[string]tcpstate.Event{
	"passive OPEN": tcpstate.PassiveOpen, "active OPEN": tcpstate.ActiveOpen, "CLOSE": tcpstate.Close, "ABORT": tcpstate.Abort,
	"OPEN of the same connection": tcpstate.Reuse, "timeout": tcpstate.Timeout, "ICMP host unreachable": tcpstate.RecvUnreachable,
	"rcv SYN": tcpstate.RecvSYN, "rcv SYN,ACK": tcpstate.RecvSYNACK, "rcv ACK": tcpstate.RecvACK, "rcv FIN": tcpstate.RecvFIN,
	"rcv FIN,ACK": tcpstate.RecvFINACK, "rcv RST": tcpstate.RecvRST, "rcv data after CLOSE": tcpstate.RecvData,
}

type edge struct {
	From  tcpstate.State
	Event tcpstate.Event
}

func TestTransitionsAgainstRFC(t *testing.T) {
	want := map[edge]tcpstate.State{}
	for _, r := range rfc9293 {
		name, passive := strings.CutSuffix(r.from, ", passive")
		from, err := tcpstate.Parse(strings.TrimSuffix(name, ", active"))
		if err != nil {
			t.Fatal(err)
		}
		if passive {
			from = tcpstate.NewSynRecv
		}
		to, err := tcpstate.Parse(r.to)
		if err != nil || rfcEvents[r.event] == 0 {
			t.Fatalf("%v: %v", r, err)
		}
		want[edge{from, rfcEvents[r.event]}] = to
	}
	if len(want) != len(rfc9293) {
		t.Fatalf("%d lines are for %d edges", len(rfc9293), len(want))
	}
	got := map[edge]tcpstate.State{}
	for tr := range tcpstate.Transitions() {
		if tr.RFC != 0 {
			got[edge{tr.From, tr.Event}] = tr.RFC
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-RFC +table)\n%s", diff)
	}
}

// lifeOrder is the order that Transitions promises.
var lifeOrder = []tcpstate.State{
	tcpstate.Closed, tcpstate.BoundInactive, tcpstate.Listen, tcpstate.NewSynRecv, tcpstate.SynSent, tcpstate.SynRecv,
	tcpstate.Established, tcpstate.FinWait1, tcpstate.FinWait2, tcpstate.Closing, tcpstate.TimeWait, tcpstate.CloseWait,
	tcpstate.LastAck,
}

func TestTransitionsAreWellFormed(t *testing.T) {
	source := regexp.MustCompile(`^(RFC \d+( [\d.]+)?; )*\w+(, \w+)*$`)
	place := func(tr tcpstate.Transition) int {
		return slices.Index(lifeOrder, tr.From)<<8 | int(tr.Event)
	}
	last := -1
	for tr := range tcpstate.Transitions() {
		if !tr.From.Valid() || !tr.Event.Valid() || !tr.To.Valid() {
			t.Errorf("%v: a name is missing", tr)
		}
		if place(tr) <= last {
			t.Errorf("%v+%v is not in its place", tr.From, tr.Event)
		}
		last = place(tr)
		if tr.Meaning == "" || !source.MatchString(tr.Source) {
			t.Errorf("%v+%v: meaning %q, source %q", tr.From, tr.Event, tr.Meaning, tr.Source)
		}
		if tr.RFC != tr.To && tr.Departure == "" {
			t.Errorf("%v+%v: the RFC has %v, and there is no word about it", tr.From, tr.Event, tr.RFC)
		}
		if tr.To == tr.From && tr.Action == "" && tr.Departure == "" {
			t.Errorf("%v+%v does nothing", tr.From, tr.Event)
		}
		if fromRFC := strings.Contains(tr.Source, "RFC 9293"); fromRFC != (tr.RFC != 0) {
			t.Errorf("%v+%v: the RFC has %v, by %q", tr.From, tr.Event, tr.RFC, tr.Source)
		}
	}
}

func TestNextIsTheTable(t *testing.T) {
	want := map[edge]tcpstate.State{}
	successors := map[tcpstate.State]tcpstate.Set{}
	for tr := range tcpstate.Transitions() {
		want[edge{tr.From, tr.Event}] = tr.To
		successors[tr.From] = successors[tr.From].With(tr.To)
	}
	for s := range 256 {
		for e := range 256 {
			at := edge{tcpstate.State(s), tcpstate.Event(e)}
			to, ok := at.From.Next(at.Event)
			if to != want[at] || ok != (want[at] != 0) {
				t.Errorf("%v.Next(%v) = %v, %v, want %v", at.From, at.Event, to, ok, want[at])
			}
		}
		if got, want := tcpstate.State(s).Successors(), successors[tcpstate.State(s)]; got != want {
			t.Errorf("%v.Successors() = %v, want %v", tcpstate.State(s), got, want)
		}
	}
}

// TestReachable walks every sequence of events that fits, up to a length that no way without a circle exceeds.
func TestReachable(t *testing.T) {
	via := map[edge]tcpstate.State{}
	for tr := range tcpstate.Transitions() {
		via[edge{tr.From, tr.Event}] = tr.Via
	}
	idle := tcpstate.SetOf(tcpstate.Closed, tcpstate.BoundInactive)
	var walk func(s tcpstate.State, steps int) tcpstate.Set
	walk = func(s tcpstate.State, steps int) tcpstate.Set {
		met := s.Set()
		if steps == 0 {
			return met
		}
		for e := tcpstate.Bind; e.Valid(); e++ {
			to, ok := s.Next(e)
			if !ok || to == s {
				continue
			}
			met = met.With(to)
			for _, next := range []tcpstate.State{to, via[edge{s, e}]} {
				if next != 0 && !idle.Has(next) {
					met |= walk(next, steps-1)
				}
			}
		}
		return met
	}
	for _, s := range lifeOrder {
		want := walk(s, 8)
		if want.Has(tcpstate.Closed) {
			want = want.With(tcpstate.BoundInactive)
		}
		if got := s.Reachable(); got != want {
			t.Errorf("%v.Reachable() = %v, want %v", s, got, want)
		}
	}
	for _, s := range []tcpstate.State{0, 14, 31, 255} {
		if got := s.Reachable(); got != s.Set() {
			t.Errorf("%v.Reachable() = %v, want only itself", s, got)
		}
	}
}

func TestMayBecome(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"TIME_WAIT", "TIME_WAIT", true},
		{"TIME_WAIT", "CLOSE", true},
		{"TIME_WAIT", "ESTABLISHED", false},
		{"TIME_WAIT", "FIN_WAIT2", false},
		{"SYN_RECV", "ESTABLISHED", true},
		{"SYN_RECV", "CLOSE_WAIT", true},
		{"NEW_SYN_RECV", "SYN_RECV", true},
		{"SYN_RECV", "LISTEN", false},
		{"LISTEN", "SYN_RECV", false}, // another socket
		{"LISTEN", "ESTABLISHED", false},
		{"LISTEN", "BOUND_INACTIVE", true}, // after shutdown
		{"ESTABLISHED", "TIME_WAIT", true},
		{"ESTABLISHED", "LAST_ACK", true},
		{"ESTABLISHED", "SYN_SENT", false},
		{"ESTABLISHED", "LISTEN", false},
		{"ESTABLISHED", "BOUND_INACTIVE", true}, // reset, and bound by name
		{"CLOSE_WAIT", "FIN_WAIT1", false},
		{"CLOSE_WAIT", "TIME_WAIT", false},
		{"LAST_ACK", "TIME_WAIT", false},
		{"FIN_WAIT2", "CLOSE_WAIT", false},
		{"FIN_WAIT2", "LAST_ACK", false},
		{"CLOSING", "FIN_WAIT2", false},
		{"BOUND_INACTIVE", "CLOSE_WAIT", true},
		{"CLOSE", "NEW_SYN_RECV", false},
		{"State(20)", "LISTEN", true},
		{"LISTEN", "State(20)", true},
		{"State(40)", "State(41)", true},
	} {
		from, errFrom := tcpstate.Parse(tt.from)
		to, errTo := tcpstate.Parse(tt.to)
		if err := errors.Join(errFrom, errTo); err != nil {
			t.Fatal(err)
		}
		if got := from.MayBecome(to); got != tt.want {
			t.Errorf("%v.MayBecome(%v) = %v", from, to, got)
		}
	}
}

func TestMachineAllocates(t *testing.T) {
	sum := 0
	if n := testing.AllocsPerRun(100, func() {
		for s := tcpstate.Established; s.Valid(); s++ {
			for e := tcpstate.Bind; e.Valid(); e++ {
				next, _ := s.Next(e)
				sum += int(next) + s.Successors().Len() + s.Reachable().Len()
			}
		}
	}); n != 0 || sum == 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWriteMermaid reads the diagram back: with its note it has every change of state, and nothing else.
func TestWriteMermaid(t *testing.T) {
	var b bytes.Buffer
	if err := tcpstate.WriteMermaid(&b); err != nil {
		t.Fatal(err)
	}
	type change struct {
		from, to string
		event    string
	}
	got, want := map[change]bool{}, map[change]bool{}
	arrow := regexp.MustCompile(`^    ([A-Z0-9_]+) --> ([A-Z0-9_]+): (\S.*)$`)
	text, note, ok := strings.Cut(b.String(), "    note right of CLOSE\n")
	if !ok {
		t.Fatalf("no note in\n%s", &b)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 2 || lines[0] != "stateDiagram-v2" || lines[1] != "    [*] --> CLOSE" {
		t.Fatalf("a diagram does not begin so:\n%s", text)
	}
	arrows := map[[2]string]bool{}
	for _, line := range lines[2:] {
		m := arrow.FindStringSubmatch(line)
		if m == nil || arrows[[2]string{m[1], m[2]}] {
			t.Fatalf("not an arrow, or one more of the same: %q", line)
		}
		arrows[[2]string{m[1], m[2]}] = true
		for event := range strings.SplitSeq(m[3], ", ") {
			got[change{m[1], m[2], event}] = true
		}
	}
	events, rest, _ := strings.Cut(strings.TrimSpace(note), "\n")
	if rest != "        lead here from every state\n        of a connection\n    end note" {
		t.Errorf("the note goes on with %q", rest)
	}
	for event := range strings.SplitSeq(events, ", ") {
		for _, from := range lifeOrder {
			if from != tcpstate.Closed && from != tcpstate.BoundInactive && from != tcpstate.Listen {
				got[change{from.String(), "CLOSE", event}] = true
			}
		}
	}
	for tr := range tcpstate.Transitions() {
		if tr.From != tr.To {
			want[change{tr.From.String(), tr.To.String(), tr.Event.String()}] = true
		}
		if tr.Child != 0 {
			want[change{tr.From.String(), tr.Child.String(), "new by " + tr.Event.String()}] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-table +diagram)\n%s", diff)
	}
}

type brokenWriter struct{ writes int }

var errBroken = errors.New("broken")

func (w *brokenWriter) Write([]byte) (int, error) { w.writes++; return 0, errBroken }

func TestWriteMermaidError(t *testing.T) {
	w := &brokenWriter{}
	if err := tcpstate.WriteMermaid(w); !errors.Is(err, errBroken) || w.writes != 1 {
		t.Errorf("%v after %d writes", err, w.writes)
	}
}
