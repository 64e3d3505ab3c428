package tcpstate_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

var (
	_ encoding.TextAppender    = tcpstate.Event(0)
	_ encoding.TextMarshaler   = tcpstate.Event(0)
	_ encoding.TextUnmarshaler = new(tcpstate.Event)
)

var eventNames = map[tcpstate.Event]string{
	tcpstate.Bind: "Bind", tcpstate.PassiveOpen: "PassiveOpen", tcpstate.ActiveOpen: "ActiveOpen", tcpstate.Close: "Close",
	tcpstate.Abort: "Abort", tcpstate.RecvSYN: "RecvSYN", tcpstate.RecvSYNACK: "RecvSYNACK", tcpstate.RecvACK: "RecvACK",
	tcpstate.RecvFIN: "RecvFIN", tcpstate.RecvFINACK: "RecvFINACK", tcpstate.RecvData: "RecvData", tcpstate.RecvRST: "RecvRST",
	tcpstate.RecvUnreachable: "RecvUnreachable", tcpstate.Timeout: "Timeout", tcpstate.Reuse: "Reuse", tcpstate.Overflow: "Overflow",
	0: "Event(0)", 42: "Event(42)", 255: "Event(255)",
}

func TestEventText(t *testing.T) {
	for e := range 256 {
		e := tcpstate.Event(e)
		name, known := eventNames[e]
		if got := e.String(); known && got != name {
			t.Errorf("event %d is %q, want %q", uint8(e), got, name)
		}
		if e.Valid() != (known && !strings.HasPrefix(name, "Event(")) {
			t.Errorf("%v: Valid() = %v", e, e.Valid())
		}
		if got, _ := e.AppendText([]byte("=")); string(got) != "="+e.String() {
			t.Errorf("%v: AppendText = %q", e, got)
		}
		for _, text := range []string{e.String(), strings.ToUpper(e.String()), " " + strings.ToLower(e.String()) + "\n"} {
			if got, err := tcpstate.ParseEvent(text); err != nil || got != e {
				t.Errorf("ParseEvent(%q) = %v, %v", text, got, err)
			}
		}
	}
}

func TestEventJSON(t *testing.T) {
	in := map[tcpstate.Event]tcpstate.Event{tcpstate.Timeout: tcpstate.RecvFINACK, 42: 43}
	text, err := json.Marshal(in)
	if want := `{"Event(42)":"Event(43)","Timeout":"RecvFINACK"}`; err != nil || string(text) != want {
		t.Fatalf("%s, %v, want %s", text, err, want)
	}
	var out map[tcpstate.Event]tcpstate.Event
	if err := json.Unmarshal(text, &out); err != nil || len(out) != 2 || out[42] != 43 || out[tcpstate.Timeout] != tcpstate.RecvFINACK {
		t.Errorf("%v, %v", out, err)
	}
	e := tcpstate.Bind
	if err := e.UnmarshalText([]byte("Recv")); err == nil || e != tcpstate.Bind {
		t.Errorf("%v, %v", e, err)
	}
}

func TestParseEventErrors(t *testing.T) {
	for _, text := range []string{"", "Recv", "RecvFIN ACK", "Event", "Event(", "Event()", "Event(256)", "Event(-1)", "Event(+1)", "Event(1", "TIME_WAIT"} {
		e, err := tcpstate.ParseEvent(text)
		var pe *tcpstate.ParseError
		if !errors.As(err, &pe) || pe.Text != text || e != 0 {
			t.Errorf("ParseEvent(%q) = %v, %v", text, e, err)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, name := range eventNames {
		f.Add(name)
	}
	f.Add(" event(7)\v")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := tcpstate.ParseEvent(text)
		if err != nil {
			if e != 0 {
				t.Fatalf("ParseEvent(%q) = %v beside %v", text, e, err)
			}
			return
		}
		if back, err := tcpstate.ParseEvent(e.String()); err != nil || back != e {
			t.Fatalf("ParseEvent(%q) = %v, which reads back as %v, %v", text, e, back, err)
		}
		// Only a number can be written in more than one way.
		text = strings.ToLower(strings.TrimSpace(text))
		if !strings.HasPrefix(text, "event(") && !strings.EqualFold(text, e.String()) {
			t.Fatalf("%q is event %v", text, e)
		}
	})
}
