package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

// -watch prints again, with the change, also that of a state whose last socket
// has gone.
func TestWatch(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	var pairs []int
	pair := func() {
		ns.Do(func() {
			c, s := nstest.Pair(t, nstest.IPv4)
			pairs = append(pairs, c, s)
		})
	}
	for range 3 {
		pair()
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-watch=20ms", "-state=estab", "-netns", clitest.Path(ns)}, w, io.Discard)
		_ = w.CloseWithError(io.EOF)
		done <- err
	}()
	lines := bufio.NewScanner(r)
	clock := regexp.MustCompile(`^\d\d:\d\d:\d\d$`)
	// next is the next block, without its first line, the time.
	next := func() string {
		t.Helper()
		var block []string
		for lines.Scan() && lines.Text() != "" {
			block = append(block, lines.Text())
		}
		if len(block) == 0 || !clock.MatchString(block[0]) {
			t.Fatalf("a block without the time: %q, %v", block, lines.Err())
		}
		return strings.Join(block[1:], "\n")
	}
	// follow reads blocks until there are so many sockets. They come and go one
	// by one, perhaps over several blocks; each block shows the change since the
	// one before, or none.
	sum := 6
	follow := func(to int) {
		t.Helper()
		changed := false
		for sum != to {
			block := next()
			if block == fmt.Sprintf("ESTABLISHED  %d", sum) {
				continue
			}
			var n, change int
			if _, err := fmt.Sscanf(block, "ESTABLISHED %d %d", &n, &change); err != nil || n-change != sum || change == 0 {
				t.Fatalf("%d sockets, and then %q", sum, block)
			}
			sum, changed = n, true
		}
		if !changed {
			t.Fatal("no change was seen")
		}
	}
	if got := next(); got != "ESTABLISHED  6" {
		t.Fatalf("at first %q", got)
	}
	pair()
	follow(8)
	if got := next(); got != "ESTABLISHED  8" { // the change is since the last time only
		t.Fatalf("nothing changed: %q", got)
	}
	for _, fd := range slices.Backward(pairs) {
		nstest.Abort(t, fd)
	}
	follow(0)
	if got := next(); got != "" {
		t.Errorf("nothing is left and nothing changed: %q", got)
	}
	stop()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-done; err != nil {
		t.Errorf("-watch ended with %v", err)
	}
}

// Ctrl-C ends -watch with status 0, after whole lines.
func TestWatchInterrupted(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Pair(t, nstest.IPv6)
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			cmd := clitest.Command("-json", "-watch", "30ms")
			out, errs := clitest.Start(t, cmd)
			lines := bufio.NewReader(out)
			for i := 0; ; i++ {
				line, err := lines.ReadString('\n')
				if err == io.EOF && line == "" && i >= 3 {
					break
				}
				if got := parseJSON(t, line); got["ESTABLISHED"] != 2 {
					t.Errorf("line %d: %q", i, line)
				}
				if i == 2 {
					if err := cmd.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil || errs.Len() > 0 {
				t.Errorf("after %v: %v, stderr %q", sig, err, errs)
			}
		}
		// One that waits long is not kept waiting.
		begin := time.Now()
		cmd := clitest.Command("-watch", "1h")
		out, _ := clitest.Start(t, cmd)
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || time.Since(begin) > time.Minute {
			t.Errorf("-watch 1h: %v, after %v", err, time.Since(begin))
		}
	})
}
