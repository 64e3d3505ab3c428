package tcpstate

import (
	"iter"
	"slices"
)

// Transition is one row of the state machine: what an event does to a socket in
// a state. A row whose To is its From changes no state, and is there for what
// else it does, or because RFC 9293 has a change there.
type Transition struct {
	From  State // before the event
	Event Event // what happens
	To    State // after it; Closed also for what is gone then, as a mini-socket is

	// Via is a state that the socket passes on its way to To, and in which the
	// same event goes on: trace points show it, a dump hardly ever. Zero: none.
	Via State

	// Child is the state of a new socket that the event begins, one with a
	// cookie of its own. Zero: none.
	Child State

	// RFC is the state that RFC 9293 has instead of To; it is To where Linux does
	// the same. What the RFC calls SYN-RECEIVED is SynRecv here, also where From
	// is NewSynRecv, a number that only Linux has. Zero: the RFC does not have
	// the state or the event.
	RFC State

	Meaning   string // what has happened
	Action    string // what the kernel does about it, mostly what it sends; empty: nothing
	Departure string // how Linux departs from RFC 9293; empty: it does not
	Source    string // the section of the RFC and the function of the kernel
}

// Transitions yields the state machine of Linux, row by row, no two with the
// same From and Event. The order is that of a connection's life: CLOSE,
// BOUND_INACTIVE, LISTEN, NEW_SYN_RECV, SYN_SENT, SYN_RECV, ESTABLISHED,
// FIN_WAIT1, FIN_WAIT2, CLOSING, TIME_WAIT, CLOSE_WAIT, LAST_ACK, and within a
// state that of the events' numbers. The sequence can be ranged over any number
// of times.
func Transitions() iter.Seq[Transition] {
	return slices.Values(table[:])
}

// Next returns the state after the event. It is not ok where the event cannot
// happen, fails, or is ignored.
//
// It is the socket's own next state. A listener that receives a SYN goes on
// listening: what begins is another socket, the Child of the [Transition]. One
// that the kernel has no more of is Closed.
func (s State) Next(e Event) (next State, ok bool) {
	if !s.Valid() || !e.Valid() {
		return 0, false
	}
	next = machine.next[s][e]
	return next, next != 0
}

// Successors returns the states that one event can lead to: those of
// [State.Next]. It has s itself where some event leaves s as it is but for what
// else it does. It is empty for a State without a name.
func (s State) Successors() Set {
	if !s.Valid() {
		return 0
	}
	return machine.successors[s]
}

// Reachable returns the states in which a socket may be seen after it was seen
// in s, if it is still at the same connection: s itself, as nothing may have
// happened, and all that any number of events lead to. A cookie stays the same
// all along, from the request socket to the mini-socket.
//
// Closed is the end of a connection and is not gone beyond, except to
// BoundInactive: a socket that was bound by name keeps its port. From these two
// themselves everything is reachable but NewSynRecv, which no socket enters. Of
// a State without a name only that is known that it may stay.
func (s State) Reachable() Set {
	if !s.Valid() {
		return s.Set()
	}
	return machine.reachable[s]
}

// MayBecome reports whether a socket that was seen in s and is seen again, by
// its cookie, in the state later can still be at the same connection. It is
// true for a state without a name, about which nothing is known, and otherwise
// whether [State.Reachable] has it.
//
// Where it is false the kernel has done nothing wrong. A program can disconnect
// a socket, with a connect to AF_UNSPEC, or shut down a listener, and use it
// again for something else, and it has the same cookie then. While the last
// connection is in TIME_WAIT, two sockets have that cookie: the mini-socket and
// the one that is used again. Whoever watches sockets should take a false for
// the beginning of another connection, and tell sockets apart by their addresses
// and ports besides.
func (s State) MayBecome(later State) bool {
	return !s.Valid() || !later.Valid() || machine.reachable[s].Has(later)
}

// machine is what the table says, by state. It never changes.
var machine = derive(table[:])

type derived struct {
	next                  [BoundInactive + 1][Overflow + 1]State
	successors, reachable [BoundInactive + 1]Set
}

func derive(rows []Transition) (d derived) {
	// These lead on within one connection, passed states included.
	var within [BoundInactive + 1]Set
	for _, r := range rows {
		d.next[r.From][r.Event] = r.To
		d.successors[r.From] |= r.To.Set()
		within[r.From] |= r.To.Set()
		if r.Via != 0 {
			within[r.From] |= r.Via.Set()
		}
	}
	for s := Established; s.Valid(); s++ {
		d.reachable[s] = s.Set() | within[s]
		for grown := true; grown; {
			before := d.reachable[s]
			for via := range before.Without(Closed, BoundInactive).States() {
				d.reachable[s] |= within[via]
			}
			grown = d.reachable[s] != before
		}
		if d.reachable[s].Has(Closed) {
			d.reachable[s] |= BoundInactive.Set()
		}
	}
	return d
}
