package tcpstate_test

import (
	"encoding/json"
	"fmt"

	"github.com/seed16c515c6/timewait/tcpstate"
)

func Example() {
	var counts tcpstate.Counts
	for _, name := range []string{"TIME-WAIT", "ESTAB", "time_wait", "LISTEN", "06"} {
		state, err := tcpstate.Parse(name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		counts.Add(state, 1)
	}
	fmt.Println(counts)
	fmt.Println("in all:", counts.Total())
	// Output:
	// TIME_WAIT 3
	// ESTABLISHED 1
	// LISTEN 1
	// in all: 5
}

func ExampleParse() {
	for _, name := range []string{"FIN-WAIT-1", "syn-recv", "UNCONN", "TCP_LISTEN", "0A", "State(42)", "ESTABLISED"} {
		fmt.Println(tcpstate.Parse(name))
	}
	// Output:
	// FIN_WAIT1 <nil>
	// SYN_RECV <nil>
	// CLOSE <nil>
	// LISTEN <nil>
	// LISTEN <nil>
	// State(42) <nil>
	// State(0) tcpstate: "ESTABLISED" is not a state such as TIME_WAIT, TIME-WAIT, ESTAB or State(42)
}

func ExampleParseSet() {
	set, err := tcpstate.ParseSet("bucket, fin-wait-2")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set)
	fmt.Println(set.Has(tcpstate.TimeWait), set.Has(tcpstate.Established))
	// Output:
	// SYN_RECV,FIN_WAIT2,TIME_WAIT,NEW_SYN_RECV
	// true false
}

// An item with a ! takes away from what stands before it.
func ExampleParseSet_without() {
	set, err := tcpstate.ParseSet("all,!time-wait,!listen")
	fmt.Println(set, err)
	fmt.Println(set.Has(tcpstate.TimeWait), set.Has(tcpstate.Established))
	// Output:
	// all,!TIME_WAIT,!LISTEN <nil>
	// false true
}

func ExampleSet_Without() {
	busy := tcpstate.Connected.Without(tcpstate.TimeWait)
	fmt.Println(busy.Has(tcpstate.Established), busy.Has(tcpstate.TimeWait), busy.Has(tcpstate.Listen))
	// Output: true false false
}

func ExampleCounts_MarshalJSON() {
	counts := tcpstate.Counts{tcpstate.TimeWait: 41, tcpstate.Listen: 7}
	out, err := json.Marshal(counts)
	fmt.Println(string(out), err)
	// Output: {"TIME_WAIT":41,"LISTEN":7} <nil>
}
