package tcpstate_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

var (
	_ encoding.TextAppender    = tcpstate.State(0)
	_ encoding.TextMarshaler   = tcpstate.State(0)
	_ encoding.TextUnmarshaler = new(tcpstate.State)
)

// states has one row per state: its number and name in include/net/tcp_states.h (as enum tcp_state or as the bit
// that is left of it in the name without TCP_), then the spellings of RFC 9293 section 3.3.2, of the output of ss
// and of its state filter, and the digits of /proc/net/tcp. Empty: that source does not know the state.
var states = []struct {
	state                            tcpstate.State
	number                           int
	kernel, rfc, ss, ssFilter, stHex string
}{
	{tcpstate.Established, 1, "TCP_ESTABLISHED", "ESTABLISHED", "ESTAB", "established", "01"},
	{tcpstate.SynSent, 2, "TCP_SYN_SENT", "SYN-SENT", "SYN-SENT", "syn-sent", "02"},
	{tcpstate.SynRecv, 3, "TCP_SYN_RECV", "SYN-RECEIVED", "SYN-RECV", "syn-recv", "03"},
	{tcpstate.FinWait1, 4, "TCP_FIN_WAIT1", "FIN-WAIT-1", "FIN-WAIT-1", "fin-wait-1", "04"},
	{tcpstate.FinWait2, 5, "TCP_FIN_WAIT2", "FIN-WAIT-2", "FIN-WAIT-2", "fin-wait-2", "05"},
	{tcpstate.TimeWait, 6, "TCP_TIME_WAIT", "TIME-WAIT", "TIME-WAIT", "time-wait", "06"},
	{tcpstate.Closed, 7, "TCP_CLOSE", "CLOSED", "UNCONN", "unconnected", "07"},
	{tcpstate.CloseWait, 8, "TCP_CLOSE_WAIT", "CLOSE-WAIT", "CLOSE-WAIT", "close-wait", "08"},
	{tcpstate.LastAck, 9, "TCP_LAST_ACK", "LAST-ACK", "LAST-ACK", "last-ack", "09"},
	{tcpstate.Listen, 10, "TCP_LISTEN", "LISTEN", "LISTEN", "listening", "0A"},
	{tcpstate.Closing, 11, "TCP_CLOSING", "CLOSING", "CLOSING", "closing", "0B"},
	{tcpstate.NewSynRecv, 12, "TCP_NEW_SYN_RECV", "", "", "", "0C"},
	{tcpstate.BoundInactive, 13, "TCP_BOUND_INACTIVE", "", "", "bound-inactive", "0D"},
}

func TestStateNumbersAndNames(t *testing.T) {
	for _, st := range states {
		if int(st.state) != st.number {
			t.Errorf("%s is %d, want %d", st.kernel, st.state, st.number)
		}
		if got, want := st.state.String(), strings.TrimPrefix(st.kernel, "TCP_"); got != want {
			t.Errorf("State %d: String() = %q, want %q", st.number, got, want)
		}
	}
}

func TestParseSpellings(t *testing.T) {
	for _, st := range states {
		spellings := []string{
			st.kernel, strings.TrimPrefix(st.kernel, "TCP_"), st.rfc, st.ss, st.ssFilter, st.stHex,
			fmt.Sprintf("State(%d)", st.number),
		}
		for _, name := range spellings {
			if name == "" {
				continue
			}
			for _, text := range []string{name, strings.ToLower(name), strings.ToUpper(name), "  " + name + "\n"} {
				if got, err := tcpstate.Parse(text); err != nil || got != st.state {
					t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, st.state)
				}
			}
		}
	}
	for text, want := range map[string]tcpstate.State{
		"SYN_RCVD":   tcpstate.SynRecv,  // netstat of FreeBSD and macOS
		"syn-rcv":    tcpstate.SynRecv,  // an alias in the filter of ss
		"FIN_WAIT_1": tcpstate.FinWait1, // netstat of macOS
		"FIN_WAIT_2": tcpstate.FinWait2,
		"CLOSED":     tcpstate.Closed,
		"State(0)":   0,
		"state(255)": 255,
	} {
		if got, err := tcpstate.Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{
		"", " ", "-", "TIME", "TIMEWAIT", "TIME WAIT", "TIME_WAIT,LISTEN", "TCP_", "TCP_TCP_LISTEN", "NEW", "all", "none",
		"0", "6", "00", "0E", "0x06", "10", "A0", "006",
		"State", "State()", "State(256)", "State(-1)", "State(+1)", "State(1", "State(0x1)", "State(1_0)", "State(42)x",
		"TIME\x00WAIT", "\xff\xfe", strings.Repeat("TIME_WAIT", 1000),
	} {
		got, err := tcpstate.Parse(text)
		var perr *tcpstate.ParseError
		switch {
		case !errors.As(err, &perr):
			t.Errorf("Parse(%.40q) = %v, %v, want a *ParseError", text, got, err)
		case perr.Text != text:
			t.Errorf("Parse(%.40q): the error has Text %.40q", text, perr.Text)
		case len(err.Error()) > 300:
			t.Errorf("Parse(%.40q): the message is %d bytes long", text, len(err.Error()))
		case got != 0:
			t.Errorf("Parse(%.40q) = %v beside an error, want 0", text, got)
		}
	}
	_, err := tcpstate.Parse("TIME_WAITS")
	if msg := err.Error(); !strings.Contains(msg, `"TIME_WAITS"`) || !strings.Contains(msg, "TIME_WAIT") {
		t.Errorf("the message %q should name what was found and what was expected", msg)
	}
}

func TestStateTextRoundTrip(t *testing.T) {
	for n := range 256 {
		s := tcpstate.State(n)
		text, err := s.MarshalText()
		if err != nil || string(text) != s.String() {
			t.Errorf("State %d: MarshalText = %q, %v, want %q", n, text, err, s.String())
		}
		if !s.Valid() && s.String() != fmt.Sprintf("State(%d)", n) {
			t.Errorf("State %d without a name prints %q", n, s.String())
		}
		appended, err := s.AppendText([]byte("st="))
		if want := "st=" + s.String(); err != nil || string(appended) != want {
			t.Errorf("State %d: AppendText = %q, %v, want %q", n, appended, err, want)
		}
		var back tcpstate.State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("State %d: %q unmarshals to %v, %v", n, text, back, err)
		}
	}
}

func TestStateUnmarshalTextError(t *testing.T) {
	s := tcpstate.Listen
	if err := s.UnmarshalText([]byte("nonsense")); err == nil || s != tcpstate.Listen {
		t.Errorf("UnmarshalText(nonsense): %v, state now %v, want an error and the state unchanged", err, s)
	}
}

// As a value and as a map key, JSON has the name.
func TestStateJSON(t *testing.T) {
	in := map[tcpstate.State]tcpstate.State{tcpstate.TimeWait: 42}
	out, err := json.Marshal(in)
	if want := `{"TIME_WAIT":"State(42)"}`; err != nil || string(out) != want {
		t.Fatalf("Marshal = %s, %v, want %s", out, err, want)
	}
	var back map[tcpstate.State]tcpstate.State
	if err := json.Unmarshal(out, &back); err != nil || len(back) != 1 || back[tcpstate.TimeWait] != 42 {
		t.Errorf("Unmarshal = %v, %v, want %v", back, err, in)
	}
}

func TestValid(t *testing.T) {
	valid := 0
	for n := range 256 {
		if tcpstate.State(n).Valid() {
			valid++
		}
	}
	if valid != len(states) {
		t.Errorf("%d states are valid, want %d", valid, len(states))
	}
	for _, st := range states {
		if !st.state.Valid() {
			t.Errorf("%v is not valid", st.state)
		}
	}
}

func TestAllocations(t *testing.T) {
	buf := make([]byte, 0, 512)
	set := tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2, tcpstate.State(20))
	counts := tcpstate.Counts{tcpstate.TimeWait: 41, tcpstate.Listen: 7}
	var sink int
	for name, fn := range map[string]func(){
		"State.String":     func() { sink += len(tcpstate.TimeWait.String()) },
		"State.AppendText": func() { b, _ := tcpstate.State(42).AppendText(buf); sink += len(b) },
		"Parse": func() {
			s, _ := tcpstate.Parse("fin-wait-2")
			sink += int(s)
		},
		"Set.AppendText": func() { b, _ := set.AppendText(buf); sink += len(b) },
		"Set.AppendText of all but one": func() {
			b, _ := tcpstate.All.Without(tcpstate.TimeWait).AppendText(buf)
			sink += len(b)
		},
		"Set.With": func() { sink += set.With(tcpstate.Listen, tcpstate.Closed).Without(tcpstate.Closed).Len() },
		"Set.Has": func() {
			if set.Has(tcpstate.TimeWait) {
				sink++
			}
		},
		"Set.States": func() {
			for s := range set.States() {
				sink += int(s)
			}
		},
		"Counts.Total": func() { sink += int(counts.Total()) },
		"Counts.Add":   func() { counts.Add(tcpstate.TimeWait, 1) },
		"Counts.All": func() {
			for _, n := range counts.All() {
				sink += int(n)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	if sink == 0 {
		t.Error("nothing ran")
	}
}
