package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed16c515c6/timewait/sysctl"
)

// row is a setting and all that there is to say about it.
type row struct {
	Name        string    `json:"name"`
	Path        string    `json:"path"`
	Value       any       `json:"value"`             // null: see Missing
	Missing     string    `json:"missing,omitempty"` // why there is no value
	Unit        string    `json:"unit"`
	Default     any       `json:"default"` // null: see DefaultRule
	DefaultRule string    `json:"default_rule"`
	Changed     bool      `json:"changed"` // the value is known not to be the default
	Trap        *trapText `json:"trap"`    // null: nothing is known against the value
	Summary     string    `json:"summary"`
	About       string    `json:"about"`
	Range       string    `json:"range"`
	Since       string    `json:"since"`
	Removed     string    `json:"removed,omitempty"`
	Scope       string    `json:"scope"`
	Risk        string    `json:"risk"`

	value, standard any  // as package sysctl has them; value is nil where it is missing
	known           bool // standard is
}

type trapText struct {
	Effect string `json:"effect"`
	Better string `json:"better"`
}

var units = map[string]struct {
	unit time.Duration
	sign string
}{
	"seconds":      {time.Second, "s"},
	"milliseconds": {time.Millisecond, "ms"},
	"microseconds": {time.Microsecond, "us"},
}

// plainValue is the value as JSON has it: numbers as in the file, with the unit
// of the setting; triples and ranges as arrays, lists of ports as arrays of
// ranges.
func plainValue(value any, unit string) any {
	switch v := value.(type) {
	case time.Duration:
		return int64(v / units[unit].unit)
	case sysctl.PortRange:
		return [2]uint16{v.First, v.Last}
	case sysctl.Ports:
		ranges := [][2]uint16{}
		for _, r := range v {
			ranges = append(ranges, [2]uint16{r.First, r.Last})
		}
		return ranges
	case sysctl.HashTable:
		return struct {
			Buckets int  `json:"buckets"`
			Shared  bool `json:"shared"`
		}{v.Buckets, v.Shared}
	case sysctl.PageTriple:
		return [3]uint64{v.Low, v.Pressure, v.High}
	case sysctl.ByteTriple:
		return [3]int64{v.Min, v.Default, v.Max}
	}
	return value // switches, names, numbers and enums
}

// text is the value as it is written to the file, with what a number means.
func text(value any, unit string) string {
	switch v := value.(type) {
	case time.Duration:
		return strconv.FormatInt(int64(v/units[unit].unit), 10) + " " + units[unit].sign
	case bool:
		if v {
			return "1"
		}
		return "0"
	case sysctl.PortRange:
		return fmt.Sprintf("%d %d", v.First, v.Last)
	case sysctl.Ports:
		if len(v) == 0 {
			return "none"
		}
	case sysctl.TWReuse, sysctl.Syncookies, sysctl.Timestamps, sysctl.ECN, sysctl.FastOpen:
		return fmt.Sprintf("%d %v", v, v)
	}
	return fmt.Sprint(value)
}

// shown is the value for the table and the heading.
func (r *row) shown() string {
	if r.value == nil {
		return "-"
	}
	return text(r.value, r.Unit)
}

func (r *row) shownDefault() string {
	if !r.known {
		return "computed"
	}
	return text(r.standard, r.Unit)
}

func (r *row) mark() string {
	switch {
	case r.Trap != nil:
		return "!"
	case r.Changed:
		return "*"
	}
	return " "
}

// warning is the line about a trap.
func (r *row) warning() string {
	value, _, _ := strings.Cut(r.shown(), " ")
	if r.Unit == "ports" || r.Unit == "pages" || r.Unit == "bytes" {
		value = "\"" + r.shown() + "\"" // several numbers
	}
	return fmt.Sprintf("%s=%s is a trap: %s. Better: %s.", r.Name, value, r.Trap.Effect, r.Trap.Better)
}

// longest is how wide a value or default in the table is: longer ones are cut.
// Only a list of ports can be.
const longest = 24

func cut(s string) string {
	if utf8.RuneCountInString(s) > longest {
		return s[:longest-1] + "…"
	}
	return s
}

// printTable prints a line for each setting, and below them what is wrong. In a
// terminal that is too narrow for its columns the summaries get lines of their
// own; elsewhere (width 0) a line is a setting.
func printTable(out io.Writer, rows []*row, width int) error {
	w := bufio.NewWriter(out)
	var traps []*row
	for i := 0; i < len(rows); {
		// net.core, net.ipv4 and net.netfilter have columns of their own: the names
		// of the last are twice as long.
		group := i
		for i < len(rows) && prefix(rows[i]) == prefix(rows[group]) {
			i++
		}
		if group > 0 {
			fmt.Fprintln(w)
		}
		printGroup(w, rows[group:i], width)
	}
	for _, r := range rows {
		if r.Trap != nil {
			traps = append(traps, r)
		}
	}
	if len(traps) > 0 {
		fmt.Fprintln(w)
	}
	for _, r := range traps {
		for _, line := range wrap(r.warning(), width) {
			fmt.Fprintln(w, line)
		}
	}
	return w.Flush()
}

func prefix(r *row) string { return r.Name[:strings.LastIndex(r.Name, ".")] }

func printGroup(w io.Writer, rows []*row, width int) {
	// The heading: what the columns are at least as wide as.
	const name, value, standard, summary = "setting", "value", "default", "what it is"
	names, values, defaults, summaries := len(name), len(value), len(standard), len(summary)
	for _, r := range rows {
		names = max(names, len(r.Name))
		values = max(values, utf8.RuneCountInString(cut(r.shown())))
		defaults = max(defaults, utf8.RuneCountInString(cut(r.shownDefault())))
		summaries = max(summaries, len(r.Summary))
	}
	narrow := width > 0 && 2+names+2+values+2+defaults+2+summaries > width
	line := func(mark, name, value, standard, summary string) {
		text := fmt.Sprintf("%s %-*s  %-*s  %-*s", mark, names, name, values, value, defaults, standard)
		if !narrow {
			fmt.Fprintln(w, text+"  "+summary)
			return
		}
		fmt.Fprintln(w, strings.TrimRight(text, " "))
		fmt.Fprintln(w, "      "+summary)
	}
	line(" ", name, value, standard, summary)
	for _, r := range rows {
		line(r.mark(), r.Name, cut(r.shown()), cut(r.shownDefault()), r.Summary)
	}
}

// longDefault is the default and, where that does not begin with it, its rule.
func (r *row) longDefault() string {
	number, _, _ := strings.Cut(r.shownDefault(), " ")
	if !r.known || strings.HasPrefix(r.DefaultRule, number) {
		return r.DefaultRule
	}
	return r.shownDefault() + " here: " + r.DefaultRule
}

// printLong prints all that is known.
func printLong(out io.Writer, rows []*row, width int) error {
	w := bufio.NewWriter(out)
	for i, r := range rows {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if r.value == nil {
			for _, line := range wrap(r.Name+": "+r.Missing, paper(width)) {
				fmt.Fprintln(w, line)
			}
		} else {
			fmt.Fprintf(w, "%s = %s\n", r.Name, r.shown())
		}
		if r.Trap != nil {
			item(w, "trap", r.Trap.Effect+". Better: "+r.Trap.Better+".", width)
		}
		item(w, "what", r.About, width)
		item(w, "unit", r.Unit, width)
		item(w, "default", r.longDefault(), width)
		item(w, "takes", r.Range, width)
		item(w, "risk", r.Risk, width)
		if r.Scope == sysctl.Host.String() {
			item(w, "scope", "one value for the host", width)
		} else {
			item(w, "scope", "each network namespace has its own", width)
		}
		since := "Linux " + r.Since
		if r.Removed != "" {
			since += ", until Linux " + r.Removed + " removed it"
		}
		item(w, "since", since, width)
		item(w, "file", r.Path, width)
	}
	return w.Flush()
}

// paper is the width of paragraphs: that of the terminal, or what fits most.
func paper(width int) int {
	if width == 0 {
		return 80
	}
	return width
}

// item prints a paragraph with a label before it.
func item(w io.Writer, label, text string, width int) {
	for i, line := range wrap(text, max(paper(width)-11, 20)) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "  %-7s  %s\n", label, line)
	}
}

// wrap breaks a text into lines of at most width columns, unless a word is
// longer; 0 is no limit.
func wrap(text string, width int) (lines []string) {
	if width <= 0 {
		return []string{text}
	}
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
