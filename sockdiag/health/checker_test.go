package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// counting counts the dumps of a Source, and lets them wait.
type counting struct {
	recorded
	walks atomic.Int32
	enter chan struct{} // told when a walk begins, if not nil
	leave chan struct{} // a walk goes on when it is closed, or its context ends
}

func (c *counting) Dump(ctx context.Context, q sockdiag.Query) iter.Seq2[sockdiag.Socket, error] {
	if q.States.Has(tcpstate.TimeWait) {
		c.walks.Add(1)
		if c.enter != nil {
			c.enter <- struct{}{}
			select {
			case <-c.leave:
			case <-ctx.Done():
			}
		}
	}
	return c.recorded.Dump(ctx, q)
}

func checkerOptions(settings ...string) health.Options {
	o := recordedOptions()
	o.ProcSys = procSys(settings...)
	return o
}

// Many who ask at the same time, and soon after, make for one look.
func TestSingleFlight(t *testing.T) {
	source := &counting{enter: make(chan struct{}, 100), leave: make(chan struct{})}
	source.recorded = recording()
	opts := checkerOptions("ipv4/tcp_syncookies", "0")
	opts.MaxAge = time.Hour
	c := health.NewChecker(source, opts)
	var wg sync.WaitGroup
	for range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := c.Check(t.Context())
			if err != nil || r.Severity != health.Warning || len(r.Findings) != 1 || r.Findings[0].ID != health.SyncookiesOff {
				t.Errorf("%+v, %v", r, err)
			}
		}()
	}
	<-source.enter
	close(source.leave)
	wg.Wait()
	if _, err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if n := source.walks.Load(); n != 1 {
		t.Errorf("%d looks, want one", n)
	}
}

// An answer that is too old is not given again. (An age of a nanosecond.)
func TestMaxAge(t *testing.T) {
	source := &counting{recorded: recording()}
	opts := checkerOptions()
	opts.MaxAge = 1
	c := health.NewChecker(source, opts)
	var last time.Time
	for range 3 {
		r, err := c.Check(t.Context())
		if err != nil || !r.Time.After(last) || r.Severity != health.OK {
			t.Errorf("%+v, %v, after one of %v", r, err, last)
		}
		last = r.Time
	}
	if n := source.walks.Load(); n != 3 {
		t.Errorf("%d looks, want 3", n)
	}
}

// Who looks may give up; those who wait do not get its error, and one of them looks.
// Who waits may give up, too.
func TestGiveUp(t *testing.T) {
	source := &counting{recorded: recording(), enter: make(chan struct{}, 100), leave: make(chan struct{})}
	c := health.NewChecker(source, checkerOptions())
	first, giveUp := context.WithCancel(t.Context())
	errs := make(chan error, 3)
	check := func(ctx context.Context) {
		_, err := c.Check(ctx)
		errs <- err
	}
	go check(first)
	<-source.enter // the first looks
	second, giveUpToo := context.WithCancel(t.Context())
	go check(second)
	giveUpToo()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("who waited: %v", err)
	}
	go check(t.Context())
	giveUp()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("who looked: %v", err)
	}
	<-source.enter // the third looks
	close(source.leave)
	if err := <-errs; err != nil {
		t.Errorf("who looked instead: %v", err)
	}
	if _, err := c.Check(first); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

// A prober that does not wait as long as a look takes leaves its answer to the next.
func TestImpatient(t *testing.T) {
	source := &counting{recorded: recording(), enter: make(chan struct{}, 100), leave: make(chan struct{})}
	opts := checkerOptions()
	opts.MaxAge = time.Hour
	c := health.NewChecker(source, opts)
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	}()
	<-source.enter
	giveUp()
	// One who waits gives up at once.
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	if w.Code != 500 {
		t.Errorf("who waited: %d %s", w.Code, w.Body)
	}
	close(source.leave)
	<-done
	w = httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if n := source.walks.Load(); w.Code != 200 || n != 1 {
		t.Errorf("%d %s after %d looks, want one", w.Code, w.Body, n)
	}
}

// What happened is told for ten seconds at least, and compared over ten at least,
// however often it is asked.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := procNet("TCPTimeWaitOverflow 0", "ActiveOpens 0", quiet)
		opts := checkerOptions()
		opts.ProcNet, opts.MaxAge = net, time.Second
		c := health.NewChecker(recording(), opts)
		began := time.Now()
		for range 60 {
			second := int(time.Since(began) / time.Second)
			if second == 21 {
				net["netstat"] = file(columns("TcpExt", "TCPTimeWaitOverflow 7"))
			}
			r, err := c.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			told := len(r.Findings) > 0
			if due := second >= 21 && second < 31; due && !told || told && (second < 21 || second >= 41) {
				t.Errorf("second %d: %+v", second, r.Findings)
			}
			if told {
				var over int
				if _, err := fmt.Sscanf(evidenceOf(r.Findings[0], "TcpExt.TCPTimeWaitOverflow"), "+7 in %d s", &over); err != nil || over < 10 || over >= 20 {
					t.Errorf("second %d: %+v, %v", second, r.Findings[0], err)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

// An error is given again for a moment, and is not for good.
func TestCheckerError(t *testing.T) {
	failed := errors.New("failed")
	source := &counting{recorded: recording()}
	source.err = failed
	opts := checkerOptions()
	opts.MaxAge = 50 * time.Millisecond
	c := health.NewChecker(source, opts)
	for range 2 {
		if r, err := c.Check(t.Context()); !errors.Is(err, failed) || r.Findings != nil {
			t.Errorf("%+v, %v", r, err)
		}
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 500 || body["error"] == "" || len(body) != 1 {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
	source.err = nil
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, err := c.Check(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// The status goes by the chosen severity.
func TestServeHTTP(t *testing.T) {
	trap := []string{"ipv4/tcp_rfc1337", "1"}       // info
	off := []string{"ipv4/tcp_syncookies", "0"}     // warning
	recycle := []string{"ipv4/tcp_tw_recycle", "1"} // critical
	for _, tt := range []struct {
		settings []string
		fail     health.Severity
		severity string
		status   int
	}{
		{nil, 0, "ok", 200},
		{nil, health.Info, "ok", 200},
		{trap, health.Info, "info", 503},
		{trap, health.Warning, "info", 200},
		{off, 0, "warning", 200},
		{off, health.Warning, "warning", 503},
		{off, health.Critical, "warning", 200},
		{recycle, 0, "critical", 503},
		{recycle, health.Warning, "critical", 503},
	} {
		opts := checkerOptions(tt.settings...)
		opts.Fail = tt.fail
		server := httptest.NewServer(health.NewChecker(recording(), opts))
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Time     time.Time        `json:"time"`
			Severity string           `json:"severity"`
			Findings []health.Finding `json:"findings"`
		}
		d := json.NewDecoder(response.Body)
		d.DisallowUnknownFields()
		err = d.Decode(&body)
		response.Body.Close()
		if err != nil || response.StatusCode != tt.status || body.Severity != tt.severity || body.Time.IsZero() || body.Findings == nil ||
			response.Header.Get("Content-Type") != "application/json" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v fail %v: %d %+v %v %v", tt.settings, tt.fail, response.StatusCode, body, response.Header, err)
		}
		if len(body.Findings) > 0 && (body.Findings[0].Severity.String() != tt.severity || len(body.Findings[0].Remedies) == 0) {
			t.Errorf("%+v", body.Findings)
		}
		response, err = server.Client().Head(server.URL)
		if err != nil || response.StatusCode != tt.status || response.ContentLength <= 0 {
			t.Errorf("HEAD: %+v, %v", response, err)
		}
		response.Body.Close()
		if response, err = server.Client().Post(server.URL, "", nil); err != nil || response.StatusCode != 405 || response.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %+v, %v", response, err)
		}
		response.Body.Close()
		server.Close()
	}
}
