package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// printer prints findings.
type printer struct {
	w      io.Writer
	width  int
	colour bool
	err    error
}

func newPrinter(w io.Writer) *printer {
	p := &printer{w: w, width: 80}
	n, ok := terminal(w)
	p.colour = ok
	if n > 0 {
		p.width = min(max(n, 40), 100)
	}
	return p
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) print(r health.Report, before, now *health.Snapshot, all bool) error {
	notes := 0
	for _, f := range r.Findings {
		if f.Severity <= health.Info && !all {
			notes++
			continue
		}
		p.finding(f)
	}
	if r.Severity <= health.Info {
		p.healthy(now)
	}
	p.closing(before, now, notes)
	return p.err
}

// healthy is the first line of two.
func (p *printer) healthy(now *health.Snapshot) {
	s := "s"
	if now.Counts.Total() == 1 {
		s = ""
	}
	line := fmt.Sprintf("Nothing is wrong: %d TCP socket%s, %d of them in TIME_WAIT", now.Counts.Total(), s, now.Counts[tcpstate.TimeWait])
	if now.Ports.Capacity > 0 {
		least := now.Ports.Usable
		for i := range now.Destinations {
			least = min(least, now.Destinations[i].Headroom)
		}
		line += fmt.Sprintf("; %d of %d local ports left, or more", least, now.Ports.Capacity)
	}
	p.line("%s.", line)
}

// closing is the last line.
func (p *printer) closing(before, now *health.Snapshot, notes int) {
	line := "Looked once, so not at what grows and happens"
	if before != nil {
		line = fmt.Sprintf("Looked twice, %v apart", now.Time.Sub(before.Time).Round(time.Second))
	}
	switch {
	case notes == 1:
		line += "; 1 thing worth knowing (-all)"
	case notes > 1:
		line += fmt.Sprintf("; %d things worth knowing (-all)", notes)
	}
	p.line("%s.", line)
}

// The colours of a terminal.
var colours = map[health.Severity]string{health.Critical: "\x1b[1;31m", health.Warning: "\x1b[1;33m", health.Info: "\x1b[1;36m"}

const margin = 10

func (p *printer) finding(f health.Finding) {
	head := strings.ToUpper(f.Severity.String())
	gap := strings.Repeat(" ", margin-len(head))
	if p.colour {
		head = colours[f.Severity] + head + "\x1b[0m"
	}
	p.text(head+gap, f.Summary)
	p.text("  why     ", f.Why)
	var seen []string
	for _, e := range f.Evidence {
		seen = append(seen, e.Name+" "+e.Value)
	}
	p.text("  seen    ", strings.Join(seen, ", "))
	label := "  do      "
	for i, r := range f.Remedies {
		do := r.Do
		if r.Linux != "" {
			do += " (Linux " + r.Linux + " or newer)"
		}
		p.text(label, fmt.Sprintf("%d. %s", i+1, do))
		label = strings.Repeat(" ", margin)
		if r.Set != "" {
			// Commands are to be copied, so they are not broken up.
			p.line("%s   %s", label, r.Set)
			p.line("%s   (undo: %s)", label, r.Undo)
		}
	}
	p.line("")
}

// text prints a text in lines, behind a label that is as wide as the margin.
func (p *printer) text(label, text string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && margin+len(line)+1+len(word) > p.width {
			p.line("%s%s", label, line)
			label, line = strings.Repeat(" ", margin), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.line("%s%s", label, line)
}
