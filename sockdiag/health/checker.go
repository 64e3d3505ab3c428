package health

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Checker answers whether the connections of a namespace are well, as often as it
// is asked: it looks anew when its last answer is older than Options.MaxAge, and
// once, however many ask at the same time. Its methods may be called at the same
// time. Create it with NewChecker.
//
// It is an http.Handler, for a health check: see ServeHTTP.
type Checker struct {
	source Source
	opts   Options

	mu     sync.Mutex
	last   answer
	flight chan struct{} // closed when the one who looks has done so; nil: nobody looks

	// Two earlier Snapshots, the later one at least window after the other: see
	// before.
	older, newer *Snapshot
}

// answer is what Check returned, and when it was found.
type answer struct {
	report Report
	err    error
	at     time.Time // zero: there is none
}

// The Snapshot that a Checker compares with is older than window, as soon as there is
// one, so that something that happened is told for as long, and not older than tooOld.
const (
	window = 10 * time.Second
	tooOld = 5 * time.Minute
)

// NewChecker returns a Checker that asks the Client, which must stay open.
func NewChecker(c Source, opts Options) *Checker { return &Checker{source: c, opts: opts} }

// maxAge is for how long the answer is good.
func (a *answer) maxAge(o *Options) time.Duration {
	age := orDefault(o.MaxAge, 5*time.Second)
	if a.err != nil {
		age = min(age, time.Second)
	}
	return age
}

// Check returns what is wrong, which may be an answer that it gave before: Time says
// from when it is. The slices are shared, and not to be changed.
//
// The error is Take's, or that of ctx. If the one who looks gives up because of its
// own context, another of those who wait looks instead.
func (c *Checker) Check(ctx context.Context) (Report, error) { return c.check(ctx, ctx) }

// check is Check, for one who waits by ctx, and would look by another context.
func (c *Checker) check(ctx, looking context.Context) (Report, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Report{}, err
		}
		c.mu.Lock()
		if a := c.last; !a.at.IsZero() && time.Since(a.at) < a.maxAge(&c.opts) {
			c.mu.Unlock()
			return a.report, a.err
		}
		flight := c.flight
		if flight == nil {
			c.flight = make(chan struct{})
			c.mu.Unlock()
			return c.look(looking)
		}
		c.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
		}
	}
}

// look looks, and lets the others know.
func (c *Checker) look(ctx context.Context) (Report, error) {
	var a answer
	var now *Snapshot
	defer func() { // also if the Source panics
		c.mu.Lock()
		defer c.mu.Unlock()
		if ctx.Err() == nil || a.err == nil {
			c.last = a // with ctx's end as the error, the others would have it
		}
		if now != nil {
			c.remember(now)
		}
		close(c.flight)
		c.flight = nil
	}()
	now, a.err = Take(ctx, c.source, c.opts)
	if a.err == nil {
		a.report = NewReport(now, Diagnose(c.before(now), now, c.opts.Thresholds))
	}
	a.at = time.Now()
	return a.report, a.err
}

// before returns what a Snapshot is compared with. Only the one who looks calls it,
// and nobody else writes meanwhile.
func (c *Checker) before(now *Snapshot) *Snapshot {
	before := c.older
	if c.newer != nil && now.Time.Sub(c.newer.Time) >= window {
		before = c.newer
	}
	if before != nil && now.Time.Sub(before.Time) > tooOld {
		return nil
	}
	return before
}

// remember keeps a Snapshot for those to come, if the last one is old enough.
func (c *Checker) remember(now *Snapshot) {
	switch {
	case c.newer == nil:
		c.older, c.newer = now, now
	case now.Time.Sub(c.newer.Time) >= window:
		c.older, c.newer = c.newer, now
	}
}

// ServeHTTP answers GET and HEAD with the Report as JSON. The status is 503 (service
// unavailable) from severity Options.Fail on, and 200 below. If it could not look
// the status is 500, and the object has the key error.
//
// A look that a request has begun goes on when its client goes away, so that the next
// one has the answer: on a host with a million sockets it can take longer than a
// prober waits.
//
// The answer has addresses and, with Options.Owners, names of processes: it is not
// for everybody.
func (c *Checker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	report, err := c.check(r.Context(), context.WithoutCancel(r.Context()))
	var body []byte
	status := http.StatusOK
	if err == nil {
		body, err = json.Marshal(report)
		fail := c.opts.Fail
		if fail == OK {
			fail = Critical
		}
		if report.Severity >= fail {
			status = http.StatusServiceUnavailable
		}
	}
	if err != nil {
		status = http.StatusInternalServerError
		body, _ = json.Marshal(map[string]string{"error": err.Error()}) // a map of strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // nobody to tell
}
