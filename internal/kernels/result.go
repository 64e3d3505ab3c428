package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// result is what became of one kernel.
type result struct {
	kernel   kernel
	missing  error // why the kernel could not be had; nil: it was run
	release  string
	passed   int
	skipped  []string // as expected, each with its reason
	failures []failure
	took     time.Duration
}

// failure is one thing that went wrong, with the output that tells of it.
type failure struct {
	what string
	text []string
}

func (r *result) fail(text []string, format string, args ...any) {
	r.failures = append(r.failures, failure{fmt.Sprintf(format, args...), text})
}

// run boots the kernel and fills in the result. Without a payload, or after the
// context ended, the kernel fails: it could have been run.
func (r *result) run(ctx context.Context, p *payload, cfg *config, out io.Writer) {
	if p == nil {
		r.fail(nil, "there are no tests to run")
		return
	}
	dir, err := r.kernel.fetch(ctx, cfg.cache)
	switch {
	case ctx.Err() != nil:
		r.fail(nil, "interrupted")
		return
	case err != nil:
		r.missing = err
		return
	}
	begin := time.Now()
	u, err := openUnpacked(dir)
	if err != nil {
		r.fail(nil, "%v", err)
		return
	}
	live := io.Discard
	if cfg.verbose {
		live = &prefixWriter{w: out, prefix: r.kernel.name + "| "}
	}
	t, console, err := boot(ctx, u, p, cfg, live)
	if err != nil {
		r.fail(nil, "%v", err)
		return
	}
	r.judge(t, packages, cfg.run != "", skips)
	if !t.done && ctx.Err() == nil {
		r.fail(strings.Split(console, "\n"), "the kernel's console:")
	}
	r.took = time.Since(begin)
}

// judge fills in the result from the guest's transcript. Every package must have
// run to its end, with a test that passed unless some were chosen by name.
func (r *result) judge(t *transcript, packs []string, chosen bool, list []skip) {
	r.release = t.release
	for _, p := range t.problems {
		r.fail(nil, "%s", p)
	}
	due := map[skip]bool{} // until a test is skipped
	for _, s := range list {
		if s.in(r.release) {
			due[s] = true
		}
	}
	for _, pack := range packs {
		i := slices.IndexFunc(t.runs, func(run *testRun) bool { return run.pack == pack })
		switch {
		case i >= 0:
			r.judgeRun(t.runs[i], chosen, due)
		case t.done:
			r.fail(nil, "%s: not run", pack)
		}
	}
	if t.done && !chosen {
		for _, s := range list {
			if due[s] {
				r.fail(nil, "%s %s: not skipped, though skips.go says that it is", s.pack, s.test)
			}
		}
	}
	switch {
	case len(r.failures) > 0:
	case !t.done:
		r.fail(nil, "no end")
	case r.passed == 0:
		r.fail(nil, "no test passed")
	}
}

func (r *result) judgeRun(run *testRun, chosen bool, due map[skip]bool) {
	passed, failed := 0, false
	for _, t := range run.tests {
		name := run.pack + " " + t.name
		switch t.verdict {
		case "PASS":
			passed++
		case "SKIP":
			why, ok := "", false
			for s := range due {
				if s.matches(run.pack, t.name) {
					why, ok, due[s] = s.why, true, false
				}
			}
			if n := len(t.output); n > 0 {
				why = strings.TrimSpace(t.output[n-1]) // the reason that the test gave
			}
			if ok {
				r.skipped = append(r.skipped, name+": "+why)
			} else {
				r.fail(t.output, "%s: skipped, and should not be", name)
			}
		default:
			failed = true
			r.fail(t.output, "%s: failed", name)
		}
	}
	r.passed += passed
	switch {
	case !run.ended:
		r.fail(run.output, "%s: did not end", run.pack)
	case run.code != 0 && (run.code != 1 || !failed):
		r.fail(run.output, "%s: exit status %d", run.pack, run.code)
	case run.code == 0 && failed:
		r.fail(run.output, "%s: exit status 0 with failed tests", run.pack)
	case run.code == 0 && passed == 0 && !chosen:
		r.fail(run.output, "%s: no test passed", run.pack)
	}
}

// maxLines is how much of one failure is printed, counted from its end.
const maxLines = 300

// String is the line of the kernel, and below it the skips and failures.
func (r *result) String() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	verdict, release := "ok", r.release
	if len(r.failures) > 0 {
		verdict = "FAIL"
	}
	if release == "" {
		release = "no answer"
	}
	if r.missing != nil {
		p("skip  %-5s %s\n", r.kernel.name, strings.ReplaceAll(r.missing.Error(), "\n", "; "))
		return b.String()
	}
	p("%-5s %-5s %s: %d passed, %d failed, %d skipped, %.0f s\n",
		verdict, r.kernel.name, release, r.passed, len(r.failures), len(r.skipped), r.took.Seconds())
	for _, s := range r.skipped {
		p("      skipped %s\n", s)
	}
	for _, f := range r.failures {
		p("      %s\n", f.what)
		if cut := len(f.text) - maxLines; cut > 0 {
			p("        (%d lines left out)\n", cut)
			f.text = f.text[cut:]
		}
		for _, line := range f.text {
			p("        %s\n", line)
		}
	}
	return b.String()
}
