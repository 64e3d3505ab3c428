package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
)

func port(t *testing.T, fd int) int {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	t.Fatalf("%T", sa)
	return 0
}

// failure is what the next read of a socket says.
func failure(fd int) error {
	_, err := unix.Read(fd, make([]byte, 1))
	return err
}

// eventually waits for what the kernel does behind the call that made it.
func eventually(cond func() bool) bool {
	for range 1000 {
		if cond() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// -K closes what is selected, and prints that; the others live on.
func TestKill(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		for _, family := range nstest.Families {
			c, s := nstest.Pair(t, family)
			other, _ := nstest.Pair(t, family)
			line := fmt.Sprintf("sport = :%d", port(t, c))
			shown := clitest.Output(t, run, "-tn", line)
			if got := clitest.Output(t, run, "-tnK", line); got != shown || strings.Count(got, "\n") != 2 {
				t.Errorf("%v: %q, shown was %q", family, got, shown)
			}
			if err := failure(c); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("%v: a read says %v", family, err)
			}
			var err error
			if !eventually(func() bool { err = failure(s); return !errors.Is(err, unix.EAGAIN) }) || !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("%v: a read of the peer says %v", family, err)
			}
			if err := failure(other); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("%v: a read of another says %v", family, err)
			}
			// Nothing is left to close, which is no failure.
			if got := clitest.Output(t, run, "-HtnK", line); got != "" {
				t.Errorf("%v: again: %q", family, got)
			}
		}

		// By state, and with JSON.
		nstest.TimeWait(t, nstest.IPv4, 30)
		if r, err := sockdiag.RunningRelease(); err != nil || !r.AtLeast(6, 1) {
			nstest.Skip(t, "a kernel that destroys TIME_WAIT: this is %v, %v", r, err)
		}
		n := 0
		for line := range strings.Lines(clitest.Output(t, run, "-tK", "-json", "state", "time-wait")) {
			var s sockdiag.Socket
			if err := json.Unmarshal([]byte(line), &s); err != nil || s.State.String() != "TIME_WAIT" {
				t.Errorf("%v: %s", err, line)
			}
			n++
		}
		if left := clitest.Output(t, run, "-Htn", "state", "time-wait"); n != 30 || left != "" {
			t.Errorf("%d closed, left: %q", n, left)
		}

		// A listener, and a UDP socket: -K selects neither without a state.
		l := listen(t, "127.0.0.1:8080")
		u := socket(t, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, netip.MustParseAddrPort("127.0.0.1:8080"))
		if got := clitest.Output(t, run, "-HK", "sport = :8080"); got != "" {
			t.Errorf("neither -a nor -l: %q", got)
		}
		if got := clitest.Output(t, run, "-HlnK", "sport = :8080"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "LISTEN") || !strings.Contains(got, "UNCONN") {
			t.Errorf("-l: %q", got)
		}
		if err := failure(u); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("a read of the UDP socket says %v", err)
		}
		if v, err := unix.GetsockoptInt(l, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || v != 0 {
			t.Errorf("the listener listens: %d, %v", v, err)
		}
	})
}

// Thousands at once, of which the one end takes the other along: each is either
// closed or gone, and none is left.
func TestKillMany(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Many(t, nstest.IPv4, 1200, 0)
		out, errs, status := clitest.Exit(t, clitest.Command("-HtnK", "src", "127.0.0.0/8"))
		closed, gone, said := strings.Count(out, "\n"), 0, 0
		if errs != "" {
			if _, err := fmt.Sscanf(errs, "sslite: %d closed, %d gone", &said, &gone); err != nil || said != closed {
				t.Errorf("%d closed: %v: %q", closed, err, errs)
			}
		}
		if status != 0 || closed+gone != 2400 || closed < 1200 {
			t.Errorf("status %d, %d closed, %d gone; stderr %q", status, closed, gone, errs)
		}
		left := ""
		if !eventually(func() bool { left = clitest.Output(t, run, "-Htan"); return left == "" }) {
			t.Errorf("left:\n%s", left)
		}
	})
}

// What cannot be closed is a failure, which says why.
func TestKillErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	ns.Do(func() {
		c, _ := nstest.Pair(t, nstest.IPv4)
		other, _ := nstest.Pair(t, nstest.IPv4)
		cmd := clitest.Command("-tK", "state", "established")
		clitest.Unprivileged(t, cmd, ns)
		out, errs, status := clitest.Exit(t, cmd)
		if status != 1 || out != "" {
			t.Errorf("without privilege: status %d, stdout %q", status, out)
		}
		clitest.OneLine(t, errs, "sslite", "not permitted", "CAP_NET_ADMIN", "0 closed, 4 not")
		for _, fd := range []int{c, other} {
			if err := failure(fd); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("a read says %v", err)
			}
		}

		// A socket that is only bound cannot be closed, and the others are.
		if r, err := sockdiag.RunningRelease(); err != nil || !r.AtLeast(6, 8) {
			nstest.Skip(t, "a kernel that shows bound-only sockets: this is %v, %v", r, err)
		}
		bound := port(t, socket(t, unix.SOCK_STREAM, netip.MustParseAddrPort("127.0.0.1:0")))
		out, errs, status = clitest.Exit(t, clitest.Command("-HtaK", fmt.Sprintf("sport = :%d or sport = :%d", bound, port(t, c))))
		if status != 1 || !strings.HasPrefix(out, "ESTAB ") || strings.Count(out, "\n") != 1 {
			t.Errorf("a bound socket: status %d, stdout %q", status, out)
		}
		clitest.OneLine(t, errs, "sslite", "1 closed, 1 the kernel cannot close", fmt.Sprintf("127.0.0.1:%d", bound), "BOUND_INACTIVE")
		if err := failure(c); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("a read says %v", err)
		}
	})
}
