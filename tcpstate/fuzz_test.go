package tcpstate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

func FuzzParse(f *testing.F) {
	for _, st := range states {
		for _, name := range []string{st.kernel, st.rfc, st.ss, st.ssFilter, st.stHex} {
			f.Add(name)
		}
	}
	f.Add("State(42)")
	f.Add(" state(7)\n")
	f.Add("ESTAB \v\u00a0")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := tcpstate.Parse(text)
		if err != nil {
			if s != 0 {
				t.Fatalf("Parse(%q) = %v beside %v", text, s, err)
			}
			return
		}
		if back, err := tcpstate.Parse(s.String()); err != nil || back != s {
			t.Fatalf("Parse(%q) = %v, whose String() parses to %v, %v", text, s, back, err)
		}
		// What is a state is also a list of one, unless no set can hold it.
		set, err := tcpstate.ParseSet(text)
		if s <= 31 && (err != nil || set != s.Set()) {
			t.Fatalf("Parse(%q) = %v, but ParseSet = %v, %v", text, s, set, err)
		}
	})
}

func FuzzParseSet(f *testing.F) {
	f.Add("time-wait,fin-wait-2", uint32(0))
	f.Add("all,!TIME_WAIT", uint32(tcpstate.All.Without(tcpstate.TimeWait)))
	f.Add("big !state(20),closed", uint32(tcpstate.All.Without(20)))
	f.Add("all", uint32(tcpstate.All))
	f.Add("connected State(20)", uint32(tcpstate.Big.Without(tcpstate.Listen)))
	f.Add("none", uint32(tcpstate.Synchronized))
	var named tcpstate.Set
	for _, st := range states {
		named = named.With(st.state)
	}
	f.Fuzz(func(t *testing.T, text string, mask uint32) {
		check := func(set tcpstate.Set) {
			if back, err := tcpstate.ParseSet(set.String()); err != nil || back != set {
				t.Fatalf("%#x prints %q, which parses to %#x, %v", uint32(set), set, uint32(back), err)
			}
			var rebuilt tcpstate.Set
			for s := range set.States() {
				rebuilt = rebuilt.With(s)
			}
			if rebuilt != set {
				t.Fatalf("%#x has the states of %#x", uint32(set), uint32(rebuilt))
			}
			// What is all but a few is told by the few.
			if text := set.String(); set|named == tcpstate.All && strings.Contains(text, "State(") {
				t.Fatalf("%#x prints %q", uint32(set), text)
			}
			// Taking its states away one by one leaves the rest of anything.
			var without strings.Builder
			without.WriteString(tcpstate.Set(mask).String())
			for s := range set.States() {
				without.WriteString(",!" + s.String())
			}
			if got, err := tcpstate.ParseSet(without.String()); err != nil || got != tcpstate.Set(mask)&^set {
				t.Fatalf("ParseSet(%q) = %#x, %v, want %#x", without.String(), uint32(got), err, mask&^uint32(set))
			}
		}
		check(tcpstate.Set(mask))
		if set, err := tcpstate.ParseSet(text); err == nil {
			check(set)
		}
	})
}

func FuzzCountsJSON(f *testing.F) {
	f.Add([]byte(`{"TIME_WAIT":41,"State(20)":1}`))
	f.Add([]byte(`{"CLOSE":1,"closed":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c, back tcpstate.Counts
		if json.Unmarshal(data, &c) != nil {
			return
		}
		out, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &back); err != nil || back != c {
			t.Fatalf("%s became %s, which reads back as\n%v, %v", data, out, back, err)
		}
	})
}
