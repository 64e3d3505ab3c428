package tcpstate_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/tcpstate"
)

var (
	_ json.Marshaler   = tcpstate.Counts{}
	_ json.Unmarshaler = &tcpstate.Counts{}
)

func TestCountsAddMergeTotal(t *testing.T) {
	var c tcpstate.Counts
	if c.Total() != 0 || c.String() != "" {
		t.Errorf("the zero Counts has %d sockets and prints %q", c.Total(), c.String())
	}
	c.Add(tcpstate.TimeWait, 40)
	c.Add(tcpstate.TimeWait, 1)
	c.Add(tcpstate.Listen, 7)
	c.Add(20, 3)
	for n := 32; n < 256; n++ {
		c.Add(tcpstate.State(n), 1000)
	}
	if want := (tcpstate.Counts{6: 41, 10: 7, 20: 3}); c != want {
		t.Errorf("counts are\n%v\nwant\n%v", c, want)
	}
	c.Merge(tcpstate.Counts{1: 5, 10: 1, 31: 2})
	if want := (tcpstate.Counts{1: 5, 6: 41, 10: 8, 20: 3, 31: 2}); c != want {
		t.Errorf("merged counts are\n%v\nwant\n%v", c, want)
	}
	if got := c.Total(); got != 59 {
		t.Errorf("Total() = %d, want 59", got)
	}
}

func TestCountsAll(t *testing.T) {
	c := tcpstate.Counts{0: 9, 1: 5, 6: 41, 31: 2}
	seq := c.All()
	c.Add(tcpstate.TimeWait, 1000) // too late for seq
	type pair struct {
		S tcpstate.State
		N uint64
	}
	want := []pair{{0, 9}, {1, 5}, {6, 41}, {31, 2}}
	for range 2 {
		var got []pair
		for s, n := range seq {
			got = append(got, pair{s, n})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("All() (-want +got):\n%s", diff)
		}
	}
	for range seq {
		break // must not go on
	}
}

func TestCountsString(t *testing.T) {
	c := tcpstate.Counts{
		tcpstate.Listen: 7, tcpstate.TimeWait: 41, tcpstate.Established: 7, 20: 7, tcpstate.FinWait2: math.MaxUint64,
	}
	want := strings.Join([]string{
		"FIN_WAIT2 18446744073709551615", "TIME_WAIT 41", "ESTABLISHED 7", "LISTEN 7", "State(20) 7",
	}, "\n")
	if got := c.String(); got != want {
		t.Errorf("String() =\n%s\nwant\n%s", got, want)
	}
}

func TestCountsJSON(t *testing.T) {
	tests := []struct {
		counts tcpstate.Counts
		want   string
	}{
		{tcpstate.Counts{}, `{}`},
		{tcpstate.Counts{10: 7, 6: 41}, `{"TIME_WAIT":41,"LISTEN":7}`},
		{tcpstate.Counts{20: 1, 0: 2, 1: math.MaxUint64}, `{"State(0)":2,"ESTABLISHED":18446744073709551615,"State(20)":1}`},
	}
	for _, tt := range tests {
		// Marshal gets a value here, so the method must have a value receiver.
		out, err := json.Marshal(tt.counts)
		if err != nil || string(out) != tt.want {
			t.Errorf("Marshal = %s, %v, want %s", out, err, tt.want)
		}
		back := tcpstate.Counts{3: 3} // replaced, not merged
		if err := json.Unmarshal(out, &back); err != nil || back != tt.counts {
			t.Errorf("Unmarshal(%s) =\n%v, %v", out, back, err)
		}
	}
	var c tcpstate.Counts
	if err := json.Unmarshal([]byte(`{"time-wait": 1, "ESTAB": 2, "TCP_LISTEN": 3}`), &c); err != nil ||
		c != (tcpstate.Counts{6: 1, 1: 2, 10: 3}) {
		t.Errorf("other spellings: %v, %v", c, err)
	}
}

func TestCountsUnmarshalErrors(t *testing.T) {
	before := tcpstate.Counts{tcpstate.Listen: 7}
	for _, text := range []string{
		`{"TIME_WAIT":1,"whatever":2}`, `{"State(32)":1}`, `{"CLOSE":1,"CLOSED":2}`, `{"TIME_WAIT":-1}`,
		`{"TIME_WAIT":1.5}`, `{"TIME_WAIT":18446744073709551616}`, `{"TIME_WAIT":"1"}`, `[1,2]`, `"TIME_WAIT 1"`,
	} {
		c := before
		if err := json.Unmarshal([]byte(text), &c); err == nil || c != before {
			t.Errorf("Unmarshal(%s): %v, counts now %v, want an error and the counts unchanged", text, err, c)
		}
	}
	c := before
	if err := json.Unmarshal([]byte(`null`), &c); err != nil || c != before {
		t.Errorf("Unmarshal(null): %v, counts now %v, want them unchanged", err, c)
	}
	var perr *tcpstate.ParseError
	if err := json.Unmarshal([]byte(`{"whatever":2}`), &c); !errors.As(err, &perr) || perr.Text != "whatever" {
		t.Errorf("Unmarshal of an unknown name: %v, want a *ParseError about it", err)
	}
}
