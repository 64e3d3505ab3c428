package tcpstate_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

var (
	_ encoding.TextAppender    = tcpstate.Set(0)
	_ encoding.TextMarshaler   = tcpstate.Set(0)
	_ encoding.TextUnmarshaler = new(tcpstate.Set)
)

// standard is the eleven states that every ss knows.
const standard tcpstate.Set = 1<<12 - 1<<1

func TestGroups(t *testing.T) {
	// The idiag_states that ss of iproute2 6.1 sends for "ss -t state GROUP", as seen with strace.
	tests := []struct {
		name string
		set  tcpstate.Set
		mask tcpstate.Set
	}{
		{"all", tcpstate.All, 0xfff},
		{"connected", tcpstate.Connected, 0xb7f},
		{"synchronized", tcpstate.Synchronized, 0xb7b},
		{"bucket", tcpstate.Bucket, 0x48},
		{"big", tcpstate.Big, 0xfb7},
	}
	for _, tt := range tests {
		if got, want := tt.set&standard, tt.mask&standard; got != want {
			t.Errorf("%s is %v among the standard states, ss says %v", tt.name, got, want)
		}
		for _, text := range []string{tt.name, strings.ToUpper(tt.name), " " + tt.name + ",\n"} {
			if got, err := tcpstate.ParseSet(text); err != nil || got != tt.set {
				t.Errorf("ParseSet(%q) = %v, %v, want %v", text, got, err, tt.set)
			}
		}
	}
}

// What the groups do with the states that are not standard is ours to promise.
func TestGroupsOtherStates(t *testing.T) {
	unknown := tcpstate.SetOf(0)
	for n := 14; n < 32; n++ {
		unknown = unknown.With(tcpstate.State(n))
	}
	tests := []struct {
		name                               string
		set                                tcpstate.Set
		newSynRecv, boundInactive, unknown bool
	}{
		{"All", tcpstate.All, true, true, true},
		{"Connected", tcpstate.Connected, true, false, true},
		{"Synchronized", tcpstate.Synchronized, true, false, true},
		{"Bucket", tcpstate.Bucket, true, false, false},
		{"Big", tcpstate.Big, false, true, true},
	}
	for _, tt := range tests {
		if got := tt.set.Has(tcpstate.NewSynRecv); got != tt.newSynRecv {
			t.Errorf("%s.Has(NewSynRecv) = %v", tt.name, got)
		}
		if got := tt.set.Has(tcpstate.BoundInactive); got != tt.boundInactive {
			t.Errorf("%s.Has(BoundInactive) = %v", tt.name, got)
		}
		want := tcpstate.Set(0)
		if tt.unknown {
			want = unknown
		}
		if got := tt.set & unknown; got != want {
			t.Errorf("%s has the unknown states %v, want %v", tt.name, got, want)
		}
	}
	if tcpstate.Big != tcpstate.All&^tcpstate.Bucket {
		t.Error("Big is not the opposite of Bucket")
	}
}

func TestSetIsTheKernelsMask(t *testing.T) {
	// The masks of ESTABLISHED, LISTEN and BOUND_INACTIVE in a request to the kernel.
	for s, want := range map[tcpstate.State]tcpstate.Set{
		tcpstate.Established: 0x2, tcpstate.Listen: 0x400, tcpstate.BoundInactive: 0x2000, 31: 0x80000000,
	} {
		if got := s.Set(); got != want {
			t.Errorf("%v.Set() = %#x, want %#x", s, uint32(got), uint32(want))
		}
	}
}

func TestSetMembers(t *testing.T) {
	set := tcpstate.SetOf(tcpstate.TimeWait, tcpstate.Established, tcpstate.TimeWait, 31)
	want := []tcpstate.State{tcpstate.Established, tcpstate.TimeWait, 31}
	seq := set.States()
	for range 2 { // a sequence can be ranged over again
		if got := slices.Collect(seq); !slices.Equal(got, want) {
			t.Errorf("States() = %v, want %v", got, want)
		}
	}
	for s := range seq {
		if s != tcpstate.Established {
			t.Errorf("after break: %v", s)
		}
		break
	}
	if got := set.Len(); got != 3 {
		t.Errorf("Len() = %d, want 3", got)
	}
	if got := tcpstate.All.Len(); got != 32 {
		t.Errorf("All.Len() = %d, want 32", got)
	}
	for n := range 256 {
		s := tcpstate.State(n)
		if got, want := set.Has(s), slices.Contains(want, s); got != want {
			t.Errorf("Has(%v) = %v", s, got)
		}
	}
	smaller := set.Without(tcpstate.TimeWait, tcpstate.Listen)
	if smaller != tcpstate.SetOf(tcpstate.Established, 31) {
		t.Errorf("Without(TimeWait, Listen) = %v", smaller)
	}
	if smaller.With(tcpstate.TimeWait) != set {
		t.Errorf("With(TimeWait) = %v, want %v", smaller.With(tcpstate.TimeWait), set)
	}
}

// 32 to 255 fit in no set, and must not fall into it modulo 32 either.
func TestSetHugeStates(t *testing.T) {
	for n := 32; n < 256; n++ {
		s := tcpstate.State(n)
		if got := s.Set(); got != 0 {
			t.Errorf("%v.Set() = %v", s, got)
		}
		if tcpstate.All.Has(s) {
			t.Errorf("All.Has(%v)", s)
		}
		if got := tcpstate.Bucket.With(s).Without(s); got != tcpstate.Bucket {
			t.Errorf("With and Without(%v) changed the set to %v", s, got)
		}
	}
}

func TestParseSet(t *testing.T) {
	two := tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2)
	for text, want := range map[string]tcpstate.Set{
		"time-wait,fin-wait-2":       two,
		"TIME_WAIT, FIN_WAIT2":       two,
		"fin-wait-2 time-wait":       two,
		"06\t05":                     two,
		"06\r\n\v\u00a005":           two,
		",time-wait,,FIN-WAIT-2 ,":   two,
		"time-wait time-wait":        tcpstate.TimeWait.Set(),
		"none":                       0,
		"None,listen":                tcpstate.Listen.Set(),
		"State(14),State(31)":        tcpstate.SetOf(14, 31),
		"bucket listening":           tcpstate.SetOf(tcpstate.SynRecv, tcpstate.NewSynRecv, tcpstate.TimeWait, tcpstate.Listen),
		"all,time-wait":              tcpstate.All,
		"bucket,big":                 tcpstate.All,
		"estab\nunconn":              tcpstate.SetOf(tcpstate.Established, tcpstate.Closed),
		"connected,close,listen,0D ": tcpstate.All,

		// From left to right, ! takes away.
		"all,!time-wait":             tcpstate.All.Without(tcpstate.TimeWait),
		"all !TIME-WAIT,!06 !unconn": tcpstate.All.Without(tcpstate.TimeWait, tcpstate.Closed),
		"all,!Bucket":                tcpstate.Big,
		"connected,!syn-sent":        tcpstate.Synchronized,
		"all,!time-wait,time-wait":   tcpstate.All,
		"all,!none":                  tcpstate.All,
		"none,!listen":               0,
		"time-wait,!all":             0,
		"time-wait,!all,fin-wait-2":  tcpstate.FinWait2.Set(),
		"estab,!State(20)":           tcpstate.Established.Set(),
	} {
		if got, err := tcpstate.ParseSet(text); err != nil || got != want {
			t.Errorf("ParseSet(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseSetErrors(t *testing.T) {
	for text, item := range map[string]string{ // the item that the error names
		"":                     "",
		" ,, ":                 " ,, ",
		"time-wait,whatever":   "whatever",
		"time-wait;fin-wait-2": "time-wait;fin-wait-2",
		"all,State(32)":        "State(32)",
		"!time-wait":           "!time-wait",
		" !none,all":           "!none",
		"all,!":                "!",
		"all,! time-wait":      "!",
		"all,!!time-wait":      "!!time-wait",
		"all,!State(32)":       "!State(32)",
		"all,!whatever":        "!whatever",
		"all,time-wait!":       "time-wait!",
		"none,-":               "-",
	} {
		got, err := tcpstate.ParseSet(text)
		var perr *tcpstate.ParseError
		if !errors.As(err, &perr) || perr.Text != item || got != 0 {
			t.Errorf("ParseSet(%q) = %v, %v, want a *ParseError about %q", text, got, err, item)
		}
	}
}

func TestSetText(t *testing.T) {
	for want, set := range map[string]tcpstate.Set{
		"none":                  0,
		"all":                   tcpstate.All,
		"connected":             tcpstate.Connected,
		"synchronized":          tcpstate.Synchronized,
		"big":                   tcpstate.Big,
		"FIN_WAIT2,TIME_WAIT":   tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2),
		"State(0),CLOSE":        tcpstate.SetOf(tcpstate.Closed, 0),
		"ESTABLISHED,State(31)": tcpstate.SetOf(tcpstate.Established, 31),
		"all,!TIME_WAIT":        tcpstate.All.Without(tcpstate.TimeWait),
		"all,!SYN_SENT,!CLOSE":  tcpstate.All.Without(tcpstate.Closed, tcpstate.SynSent),

		// Connected, less one: the group's name is for the group alone.
		"all,!TIME_WAIT,!CLOSE,!LISTEN,!BOUND_INACTIVE": tcpstate.Connected.Without(tcpstate.TimeWait),
	} {
		if got := set.String(); got != want {
			t.Errorf("%#x: String() = %q, want %q", uint32(set), got, want)
		}
		text, err := set.MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("%#x: MarshalText() = %q, %v, want %q", uint32(set), text, err, want)
		}
		appended, err := set.AppendText([]byte("states,"))
		if err != nil || string(appended) != "states,"+want {
			t.Errorf("%#x: AppendText() = %q, %v", uint32(set), appended, err)
		}
		back := tcpstate.Set(0xabcd)
		if err := back.UnmarshalText(text); err != nil || back != set {
			t.Errorf("%q unmarshals to %v, %v, want %v", text, back, err, set)
		}
	}
	set := tcpstate.Bucket
	if err := set.UnmarshalText([]byte("bucket,nonsense")); err == nil || set != tcpstate.Bucket {
		t.Errorf("UnmarshalText of nonsense: %v, set now %v, want an error and the set unchanged", err, set)
	}
}

// Only a set that has all the states without a name is told by what it lacks.
func TestSetTextUnnamed(t *testing.T) {
	var named tcpstate.Set
	for _, st := range states {
		named = named.With(st.state)
	}
	var want strings.Builder
	want.WriteString("all")
	for _, st := range states {
		want.WriteString(",!" + strings.TrimPrefix(st.kernel, "TCP_"))
	}
	unnamed := tcpstate.All &^ named
	if got := unnamed.String(); got != want.String() {
		t.Errorf("all without a name: String() = %q, want %q", got, want.String())
	}
	for lacking := range unnamed.States() {
		set := tcpstate.All.Without(lacking)
		got := set.String()
		if items := strings.Split(got, ","); len(items) != 31 || strings.Contains(got, "!") {
			t.Errorf("all but %v: String() = %q, want the list of 31 states", lacking, got)
		}
		if back, err := tcpstate.ParseSet(got); err != nil || back != set {
			t.Errorf("ParseSet(%q) = %#x, %v", got, uint32(back), err)
		}
	}
}

func TestSetJSON(t *testing.T) {
	var cfg struct{ States tcpstate.Set }
	if err := json.Unmarshal([]byte(`{"States":"time-wait"}`), &cfg); err != nil || cfg.States != tcpstate.TimeWait.Set() {
		t.Fatalf("Unmarshal = %v, %v", cfg.States, err)
	}
	if out, err := json.Marshal(cfg); err != nil || string(out) != `{"States":"TIME_WAIT"}` {
		t.Errorf("Marshal = %s, %v", out, err)
	}
}
