package tcpstate

import (
	"bytes"
	"io"
	"strings"
)

// WriteMermaid writes the state machine as a Mermaid diagram (stateDiagram-v2),
// in one Write, whose error it returns. The text is the same each time.
//
// Each arrow has every event that leads from the one state to the other. The
// events that end every connection stand in a note, because they would double
// the number of arrows. What changes no state is left out, but not a socket that
// begins beside another: its arrow has the word "new". The other columns of the
// table are not shown.
func WriteMermaid(w io.Writer) error {
	type arrow struct {
		from, to State
		label    []string
	}
	var arrows []arrow
	add := func(from, to State, born string, e Event) {
		for i, a := range arrows {
			if a.from == from && a.to == to {
				arrows[i].label = append(a.label, born+e.String())
				return
			}
		}
		arrows = append(arrows, arrow{from, to, []string{born + e.String()}})
	}
	ends, ending := endings()
	for _, r := range table {
		noted := r.To == Closed && ending.Has(r.From) && ends[r.Event]
		if r.To != r.From && !noted {
			add(r.From, r.To, "", r.Event)
		}
		if r.Child != 0 {
			add(r.From, r.Child, "new by ", r.Event)
		}
	}

	var b bytes.Buffer
	b.WriteString("stateDiagram-v2\n")
	b.WriteString("    [*] --> " + Closed.String() + "\n")
	for _, a := range arrows {
		b.WriteString("    " + a.from.String() + " --> " + a.to.String() + ": " + strings.Join(a.label, ", ") + "\n")
	}
	var always []string
	for e := Bind; e.Valid(); e++ {
		if ends[e] {
			always = append(always, e.String())
		}
	}
	b.WriteString("    note right of " + Closed.String() + "\n")
	b.WriteString("        " + strings.Join(always, ", ") + "\n")
	b.WriteString("        lead here from every state\n")
	b.WriteString("        of a connection\n")
	b.WriteString("    end note\n")
	_, err := w.Write(b.Bytes())
	return err
}

// endings returns the events that close a socket in every state of a connection,
// and those states.
func endings() (events [Overflow + 1]bool, states Set) {
	for s := Established; s.Valid(); s++ {
		if Connected.Has(s) {
			states = states.With(s)
		}
	}
	for e := Bind; e.Valid(); e++ {
		events[e] = true
		for s := range states.States() {
			events[e] = events[e] && machine.next[s][e] == Closed
		}
	}
	return events, states
}
