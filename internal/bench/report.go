package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// report is all that was measured, and where.
type report struct {
	Date        time.Time
	Command     string
	Kernel      string
	Arch        string
	CPUs        int
	Go          string
	LoadBefore  string // the average of a minute
	LoadAfter   string
	Repetitions int
	CPUTime     bool // is what the table compares
	Scenes      []sceneReport
	Skipped     []string // scenes, and why

	operations []operation
}

// sceneReport is what was measured in one scene.
type sceneReport struct {
	scene
	Table sysctl.HashTable
	Runs  []runResult
}

// failed reports whether something that should have been measured was not.
func (r *report) failed() bool {
	return len(r.failures()) > 0
}

// failures is each failure once, with how often it was seen.
func (r *report) failures() []string {
	var order []string
	times := map[string]int{}
	for _, s := range r.Scenes {
		for _, run := range s.Runs {
			if run.Failure == "" {
				continue
			}
			text := fmt.Sprintf("%v: %s: %s: %s", s.scene, run.Operation, run.Contender, run.Failure)
			if times[text]++; times[text] == 1 {
				order = append(order, text)
			}
		}
	}
	for i, text := range order {
		order[i] = fmt.Sprintf("%s (%d of %d runs)", text, times[text], r.Repetitions)
	}
	return order
}

// write writes the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, Linux %s, %s, %d CPUs, %s, load %s before and %s after:\n`%s`\n\n",
		r.Date.Format("2 January 2006"), r.Kernel, r.Arch, r.CPUs, r.Go, r.LoadBefore, r.LoadAfter, r.Command)
	times := "Times"
	if r.CPUTime {
		times = "CPU times"
	}
	fmt.Fprintf(&b, "%s as multiples of the floor's: medians of %d paired runs (and their quartiles).\n", times, r.Repetitions)
	for _, s := range r.Scenes {
		if s.Table.Shared { // a kernel before 6.1
			b.WriteString("The table of connections was that of the host, with all that is in it.\n")
			break
		}
	}
	b.WriteString("\n")
	r.writeRatios(&b)
	b.WriteString("\n")
	r.writeMemory(&b)
	for _, text := range r.failures() {
		fmt.Fprintf(&b, "\nFailed: %s\n", text)
	}
	for _, text := range r.Skipped {
		fmt.Fprintf(&b, "\nSkipped: %s\n", text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writeRatios(w io.Writer) {
	sizes := r.sizes()
	row(w, "operation", "contender", append([]string{"promise"}, sizes...)...)
	rule(w, 2, 1+len(sizes))
	missed := false
	for _, op := range r.operations {
		for i, c := range op.contenders {
			title := ""
			if i == 0 {
				title = op.name
			}
			cells := []string{c.promise.String()}
			for _, s := range sizes {
				cell, kept := r.ratio(op, c, s)
				missed = missed || !kept
				cells = append(cells, cell)
			}
			row(w, title, c.name, cells...)
		}
	}
	if missed {
		fmt.Fprintf(w, "\nIn bold what misses its promise; that of fewer than %v sockets is the floor and %v µs.\n", promisedFrom, grace/1e3)
	}
}

// String is what stands in the table.
func (p promise) String() string {
	if p.ratio == 0 {
		return ""
	}
	s := "≤ " + number(p.ratio)
	if p.from > 0 {
		s += " from " + p.from.String()
	}
	if p.walk > 0 {
		s += " or " + number(p.walk) + " × the walk"
	}
	if p.goal > 0 {
		s += ", goal " + number(p.goal)
	}
	return s
}

// ratio is a cell of the table, and whether a promise was kept there.
func (r *report) ratio(op operation, c contender, size string) (cell string, kept bool) {
	s := r.scene(op, size)
	if s == nil {
		return "", true
	}
	floor := op.contenders[0]
	all := pairs(s.Runs, op.name, c.name, floor.name, r.CPUTime)
	if len(all) == 0 {
		return s.why(op, c), true
	}
	values := ratios(all)
	if c.name == floor.name {
		values = toMedian(all)
	}
	spread := spreadOf(values)
	cell = fmt.Sprintf("%s (%s–%s)", number(spread.median), number(spread.low), number(spread.high))
	if !c.promise.kept(s.Size, all, r.toWalk(s, op, c)) {
		return "**" + cell + "**", false
	}
	return cell, true
}

// toWalk pairs a contender with the one without a row.
func (r *report) toWalk(s *sceneReport, op operation, c contender) []pair {
	for _, walk := range op.contenders {
		if walk.rowless {
			return pairs(s.Runs, op.name, c.name, walk.name, r.CPUTime)
		}
	}
	return nil
}

// why says why there is no result.
func (s *sceneReport) why(op operation, c contender) string {
	for _, run := range s.Runs {
		switch {
		case run.Operation != op.name || run.Contender != c.name:
		case run.Missing:
			return "not installed"
		case run.Failure != "":
			return "failed"
		}
	}
	return ""
}

// writeMemory writes what the Go contenders allocate, and the resident sets.
func (r *report) writeMemory(w io.Writer) {
	sizes := r.sizes()
	fmt.Fprint(w, "Allocations of a call, and the peak of the resident set:\n\n")
	row(w, "operation", "contender", sizes...)
	rule(w, 2, len(sizes))
	for _, op := range r.operations {
		title := op.name
		for _, c := range op.contenders {
			if c.program != programPeer {
				continue
			}
			cells := make([]string, 0, len(sizes))
			for _, s := range sizes {
				cells = append(cells, r.memory(op, c, s))
			}
			row(w, title, c.name, cells...)
			title = ""
		}
	}
}

// memory is a cell of that table: the median of the allocations and the greatest
// resident set.
func (r *report) memory(op operation, c contender, size string) string {
	s := r.scene(op, size)
	if s == nil {
		return ""
	}
	var counts []float64
	var peak int64
	for _, run := range s.Runs {
		if run.Operation == op.name && run.Contender == c.name && run.good() {
			counts = append(counts, run.Allocs)
			peak = max(peak, run.PeakRSS)
		}
	}
	if len(counts) == 0 {
		return s.why(op, c)
	}
	return fmt.Sprintf("%.0f, %s MB", quantile(counts, 0.5), number(float64(peak)/1024))
}

// scene is the one of that size that the operation was asked in, nil if there is
// none.
func (r *report) scene(op operation, size string) *sceneReport {
	for i := range r.Scenes {
		if s := &r.Scenes[i]; s.Size.String() == size && op.in(s.scene) {
			return s
		}
	}
	return nil
}

// sizes are those that there is something of, in the order they were asked for.
func (r *report) sizes() []string {
	var sizes []string
	for _, s := range r.Scenes {
		if !slices.Contains(sizes, s.Size.String()) {
			sizes = append(sizes, s.Size.String())
		}
	}
	return sizes
}

// row writes one row of a table.
func row(w io.Writer, first, second string, cells ...string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(append([]string{first, second}, cells...), " | "))
}

// rule ends the head of a table, with so many columns to the left and to the
// right.
func rule(w io.Writer, left, right int) {
	fmt.Fprintf(w, "|%s%s\n", strings.Repeat(" --- |", left), strings.Repeat(" --: |", right))
}

// number has three digits or so.
func number(v float64) string {
	digits := 2
	switch {
	case v >= 100:
		digits = 0
	case v >= 10:
		digits = 1
	case v < 0.1:
		digits = 3
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
