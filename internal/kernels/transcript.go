package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed16c515c6/timewait/internal/kernels/plan"
)

// transcript is what a guest reported.
type transcript struct {
	release  string // of the kernel; empty: the guest said nothing
	problems []string
	runs     []*testRun
	done     bool
}

// testRun is the run of one test binary.
type testRun struct {
	pack  string
	ended bool
	code  int
	tests []*test // in the order they ended
	// output is what belongs to no test that ended, such as a panic.
	output []string
}

// test is one test, subtest, example or fuzz target with its seeds.
type test struct {
	name    string
	verdict string // PASS, FAIL or SKIP
	output  []string
}

// frame is what -test.v=test2json marks the lines of the testing package with.
const frame = '\x16'

// parseTranscript reads the bytes that came from the guest's port, cut off
// wherever they may be.
func parseTranscript(text string) *transcript {
	p := parser{open: map[string]*test{}}
	// Tests need not end what they print with a new line.
	text = strings.NewReplacer(string(frame), "\n"+string(frame), string(plan.Mark), "\n"+string(plan.Mark)).Replace(text)
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, string(plan.Mark)):
			p.message(line[1:])
		case strings.HasPrefix(line, string(frame)):
			p.frame(line[1:])
		case line != "":
			p.print(line)
		}
	}
	p.close()
	return &p.transcript
}

type parser struct {
	transcript
	run     *testRun         // nil: between two
	open    map[string]*test // tests of run that have not ended
	current *test            // whose output this is; nil: nobody's
	ended   *test            // the last, which an example's output follows
}

func (p *parser) message(line string) {
	var m plan.Message
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		p.problems = append(p.problems, fmt.Sprintf("the guest said %q: %v", line, err))
		return
	}
	switch {
	case m.Kernel != "":
		p.release = m.Kernel
	case m.Problem != "":
		p.problems = append(p.problems, m.Problem)
	case m.Begin != "":
		p.close()
		p.run = &testRun{pack: m.Begin}
		p.runs = append(p.runs, p.run)
	case m.End != "":
		if p.run != nil && p.run.pack == m.End {
			p.run.ended, p.run.code = true, m.Code
		}
		p.close()
	}
	p.done = p.done || m.Done
}

// frame reads a line such as "=== RUN   TestX/y" or "--- PASS: TestX/y (0.01s)".
func (p *parser) frame(line string) {
	if p.run == nil {
		return
	}
	p.ended = nil
	kind, name, _ := strings.Cut(strings.TrimPrefix(line, "=== "), " ")
	name = strings.TrimSpace(name)
	switch kind {
	case "RUN", "NAME", "CONT":
		p.current = nil
		if name != "" {
			p.current = p.test(name)
		}
	case "PAUSE":
	case "---":
		verdict, name, _ := strings.Cut(name, ": ")
		name, _, _ = strings.Cut(name, " ")
		t := p.test(name)
		t.verdict = verdict
		delete(p.open, name)
		p.run.tests = append(p.run.tests, t)
		p.current, p.ended = nil, t
	default: // PASS or FAIL of all
		p.current = nil
	}
}

func (p *parser) test(name string) *test {
	t := p.open[name]
	if t == nil {
		t = &test{name: name}
		p.open[name] = t
	}
	return t
}

func (p *parser) print(line string) {
	switch {
	case p.run == nil:
	case p.current != nil:
		p.current.output = append(p.current.output, line)
	case p.ended != nil && p.ended.verdict == "FAIL":
		p.ended.output = append(p.ended.output, line)
	default:
		p.run.output = append(p.run.output, line)
	}
}

// close ends the run. What tests printed that never ended is all there is to
// say what happened to them.
func (p *parser) close() {
	if p.run != nil {
		for _, name := range slices.Sorted(maps.Keys(p.open)) {
			if t := p.open[name]; len(t.output) > 0 {
				p.run.output = append(append(p.run.output, "in "+name+":"), t.output...)
			}
		}
	}
	p.run, p.current, p.ended = nil, nil, nil
	clear(p.open)
}
