package tcpstate_test

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// The life of a connection that this side opens and closes.
func ExampleState_Next() {
	state := tcpstate.Closed
	for _, event := range []tcpstate.Event{
		tcpstate.ActiveOpen, tcpstate.RecvSYNACK, tcpstate.Close, tcpstate.RecvACK, tcpstate.RecvFIN, tcpstate.Timeout,
	} {
		next, ok := state.Next(event)
		if !ok {
			fmt.Println(event, "means nothing in", state)
			return
		}
		fmt.Println(state, event, next)
		state = next
	}
	// Output:
	// CLOSE ActiveOpen SYN_SENT
	// SYN_SENT RecvSYNACK ESTABLISHED
	// ESTABLISHED Close FIN_WAIT1
	// FIN_WAIT1 RecvACK FIN_WAIT2
	// FIN_WAIT2 RecvFIN TIME_WAIT
	// TIME_WAIT Timeout CLOSE
}

// Somebody who polls sockets and keeps the last state of each cookie can tell
// another connection from what happened to the one that was there.
func ExampleState_MayBecome() {
	last := map[uint64]tcpstate.State{}
	see := func(cookie uint64, state tcpstate.State) {
		switch before, known := last[cookie]; {
		case !known:
			fmt.Println(cookie, "begins in", state)
		case !before.MayBecome(state):
			fmt.Println(cookie, "is used again:", before, "was the last of a connection")
		case before != state:
			fmt.Println(cookie, "goes on from", before, "to", state)
		}
		last[cookie] = state
	}
	see(7, tcpstate.SynRecv)
	see(7, tcpstate.Established)
	see(7, tcpstate.Established)
	see(7, tcpstate.TimeWait)
	see(7, tcpstate.SynSent)
	// Output:
	// 7 begins in SYN_RECV
	// 7 goes on from SYN_RECV to ESTABLISHED
	// 7 goes on from ESTABLISHED to TIME_WAIT
	// 7 is used again: TIME_WAIT was the last of a connection
}

func ExampleState_Reachable() {
	fmt.Println(tcpstate.CloseWait.Reachable())
	fmt.Println(tcpstate.CloseWait.Successors())
	// Output:
	// CLOSE,CLOSE_WAIT,LAST_ACK,BOUND_INACTIVE
	// CLOSE,LAST_ACK
}

// What ends TIME_WAIT, and where Linux is not what RFC 9293 says.
func ExampleTransitions() {
	for t := range tcpstate.Transitions() {
		if t.From == tcpstate.TimeWait && t.To == tcpstate.Closed && t.Event >= tcpstate.Timeout {
			fmt.Printf("%v: %s\n\t%s\n", t.Event, t.Meaning, t.Departure)
		}
	}
	// Output:
	// Timeout: the time is over
	// 	60 seconds (TCP_TIMEWAIT_LEN), where the RFC has 2 MSL, which is four minutes
	// Reuse: a new socket connects to the same peer from the same port (tcp_tw_reuse; TWRecycled)
	// 	the RFC refuses a second connection with the same ends
}

func ExampleWriteMermaid() {
	var diagram bytes.Buffer
	if err := tcpstate.WriteMermaid(&diagram); err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(diagram.String()) {
		if strings.Contains(line, "TIME_WAIT") {
			fmt.Print(strings.TrimSpace(line), "\n")
		}
	}
	// Output:
	// FIN_WAIT1 --> TIME_WAIT: RecvFINACK
	// FIN_WAIT2 --> TIME_WAIT: RecvFIN
	// CLOSING --> TIME_WAIT: RecvACK
	// TIME_WAIT --> CLOSE: RecvSYN, Reuse
	// TIME_WAIT --> NEW_SYN_RECV: new by RecvSYN
}
