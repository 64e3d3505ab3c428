package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// running is the program, watching a namespace.
type running struct {
	t      *testing.T
	lines  *bufio.Scanner
	out    *io.PipeReader
	errs   *buffer
	ctrlC  context.CancelFunc
	result chan error
}

// buffer is for one goroutine to write while another reads.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the program, and returns when it watches. With -json, where no header
// tells of that, sockets are closed until it prints the first; others of these may
// follow.
func start(t *testing.T, ns *nstest.Namespace, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	p := &running{t: t, lines: bufio.NewScanner(r), out: r, errs: new(buffer), ctrlC: cancel, result: make(chan error, 1)}
	go func() {
		err := run(ctx, append([]string{"-netns", clitest.Path(ns)}, args...), w, p.errs)
		_ = w.Close()
		p.result <- err
	}()
	t.Cleanup(func() { cancel(); _ = r.Close() })
	if !slices.Contains(args, "-json") {
		if header := p.next(); header[0] != "time" {
			t.Fatalf("the header is %q", header)
		}
		return p
	}
	begun, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			ns.Do(func() { closeOne(t, unix.SOCK_STREAM) })
			select {
			case <-begun:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	ok := p.lines.Scan()
	close(begun)
	<-stopped
	if !ok {
		t.Fatalf("it ended: %v, %s", <-p.result, p.errs)
	}
	return p
}

// closeOne makes a socket of the calling thread's namespace and closes it.
func closeOne(t *testing.T, typ int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(os.NewSyscallError("socket", err))
		return
	}
	_ = unix.Close(fd)
}

// next returns the words of the next line.
func (p *running) next() []string {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("no more lines: %v", p.lines.Err())
	}
	return strings.Fields(p.lines.Text())
}

// end ends the program, by Ctrl-C unless it ends by itself, and returns what it
// said on stderr.
func (p *running) end(byItself bool) string {
	p.t.Helper()
	if !byItself {
		p.ctrlC()
	}
	go func() { _, _ = io.Copy(io.Discard, p.out) }()
	if err := <-p.result; err != nil {
		p.t.Errorf("it ended with %v", err)
	}
	return p.errs.String()
}

func ends(t *testing.T, fd int) (local, remote string) {
	t.Helper()
	name := func(sa unix.Sockaddr, err error) string {
		t.Helper()
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
		case *unix.SockaddrInet6:
			return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
		}
		t.Fatal(err)
		return ""
	}
	return name(unix.Getsockname(fd)), name(unix.Getpeername(fd))
}

func send(t *testing.T, from, to, n int) {
	t.Helper()
	if m, err := unix.Write(from, make([]byte, n)); err != nil || m != n {
		t.Fatalf("write %d bytes: %d, %v", n, m, err)
	}
	for b := make([]byte, n); n > 0; {
		m, err := unix.Read(to, b)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			t.Fatal(err)
		}
		n -= max(m, 0)
	}
}

// Each end of each connection has a line, with what went over.
func TestConnections(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			ns := nstest.NewNamespace(t)
			p := start(t, ns)
			var c, s, quiet, peer int
			var local, remote, quietLocal string
			begin := time.Now()
			ns.Do(func() {
				c, s = nstest.Pair(t, family)
				quiet, peer = nstest.Pair(t, family)
				local, remote = ends(t, c)
				quietLocal, _ = ends(t, quiet)
				send(t, c, s, 1000)
				send(t, s, c, 50)
			})
			for _, fd := range []int{c, s, quiet, peer} {
				nstest.Close(t, fd)
			}
			got := map[string][]string{}
			for len(got) < 4 {
				if line := p.next(); line[len(line)-1] != "-" { // not a listener of Pair
					got[line[6]] = line
				}
			}
			limit := time.Since(begin).Seconds() + 0.02 // the kernel counts in ticks of up to 10 ms
			for end, want := range map[string]string{
				local: fmt.Sprintf("1000 50 0 %s %s", local, remote), remote: fmt.Sprintf("50 1000 0 %s %s", remote, local), quietLocal: "",
			} {
				line := got[end]
				if line == nil {
					t.Fatalf("no line of %s: %v", end, got)
				}
				if !regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}$`).MatchString(line[0]) {
					t.Errorf("time %q", line[0])
				}
				received, err := strconv.Atoi(line[2])
				if err != nil {
					t.Fatal(err)
				}
				// The peer's FIN counts as one byte, if it came before the end.
				if text := fmt.Sprintf("%s %d %s %s %s", line[1], received/10*10, line[3], line[6], line[7]); want != "" && (text != want || received%10 > 1) {
					t.Errorf("%q, want %q", line, want)
				}
				if rtt, err := strconv.ParseFloat(line[4], 64); err != nil || rtt <= 0 {
					t.Errorf("rtt %q: %v", line[4], err)
				}
				lasted, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(line[5], ">"), "s"), 64)
				if exact := !strings.HasPrefix(line[5], ">"); err != nil || exact != (want == "") || lasted > limit {
					t.Errorf("lasted %q, which was %v s at most", line[5], limit)
				}
			}
			summary := p.end(false)
			if !regexp.MustCompile(`^watch: \d+ closed, 1050 bytes sent, 105[0-4] received, 0 segments sent again\n$`).MatchString(summary) {
				t.Errorf("the summary is %q", summary)
			}
		})
	}
}

// A connection without data has lasted as long as it has, to the tick.
func TestLasted(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	p := start(t, ns, "dport", "!=", ":0")
	before := time.Now()
	var c int
	ns.Do(func() { c, _ = nstest.Pair(t, nstest.IPv4) })
	after := time.Now()
	time.Sleep(300 * time.Millisecond)
	least := time.Since(after)
	nstest.Close(t, c)
	line := p.next()
	most := time.Since(before)
	const tick = 20 * time.Millisecond
	if lasted, err := time.ParseDuration(line[5]); err != nil || lasted < least-tick || lasted > most+tick {
		t.Errorf("%q: it was %v to %v; %v", line, least, most, err)
	}
	p.end(false)
}

// A reset from this side leaves no numbers, and half an end.
func TestReset(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	p := start(t, ns)
	ns.Do(func() {
		c, s := nstest.Pair(t, nstest.IPv4)
		local, remote := ends(t, c)
		send(t, c, s, 100)
		nstest.Abort(t, c)
		nstest.Close(t, s)
		_, port, _ := strings.Cut(local, ":")
		seen := 0
		for seen < 2 {
			line := p.next()
			text := strings.Join(line[1:], " ")
			switch {
			case strings.HasPrefix(text, "- - - - - ") && strings.HasSuffix(line[6], ":"+port):
				seen++
				if line[7] != "127.0.0.1:*" && line[7] != "-" {
					t.Errorf("the end that was reset: %q", line)
				}
			case line[6] == remote:
				if line[7] == "-" {
					continue // the listener of Pair
				}
				seen++
				if line[1] != "0" || line[2] != "100" || line[7] != local {
					t.Errorf("the other end: %q", line)
				}
			}
		}
	})
	if s := p.end(false); !strings.Contains(s, " 0 bytes sent, 100 received,") {
		t.Errorf("the summary is %q", s)
	}
}

// -n ends by itself, after so many that the filter selects.
func TestCountAndFilter(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	var c, s [4]int
	ns.Do(func() {
		for i := range c {
			c[i], s[i] = nstest.Pair(t, nstest.IPv4)
		}
	})
	_, wanted := ends(t, c[1])
	_, port, _ := strings.Cut(wanted, ":")
	p := start(t, ns, "-n", "2", "dport", "=", ":"+port, "or", "sport = :"+port)
	for i := range c {
		nstest.Close(t, c[i])
		nstest.Close(t, s[i])
	}
	for range 2 {
		if line := p.next(); line[6] != wanted && line[7] != wanted {
			t.Errorf("%q is not of %s", line, wanted)
		}
	}
	if s := p.end(true); !strings.HasPrefix(s, "watch: 2 closed, 0 bytes sent") {
		t.Errorf("the summary is %q", s)
	}

	// What cannot be decided is shown, and counted.
	p = start(t, ns, "-n", "1", "fwmark", "7")
	ns.Do(func() { closeOne(t, unix.SOCK_STREAM) })
	p.next()
	if s := p.end(true); !strings.HasSuffix(s, "; for 1 of them the filter could not be decided\n") {
		t.Errorf("the summary is %q", s)
	}
}

func TestFamiliesAndProtocols(t *testing.T) {
	nstest.RequireNamespace(t)
	for flags, want := range map[string]string{
		"-u": "udp4 udp6", "-tu": "tcp4 tcp6 udp4 udp6", "": "tcp4 tcp6", "-4": "tcp4", "-u6": "udp6", "-46tu": "tcp4 tcp6 udp4 udp6", "-tu src inet6:*": "tcp6 udp6",
	} {
		ns := nstest.NewNamespace(t)
		p := start(t, ns, append(strings.Fields(flags), "-n", strconv.Itoa(len(strings.Fields(want))))...)
		ns.Do(func() {
			for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
				for _, local := range []unix.Sockaddr{&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}} {
					family := unix.AF_INET
					if _, is6 := local.(*unix.SockaddrInet6); is6 {
						family = unix.AF_INET6
					}
					fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
					if err == nil {
						err = unix.Bind(fd, local)
					}
					if err != nil {
						t.Error(err)
					}
					_ = unix.Close(fd)
				}
			}
		})
		var got []string
		for range strings.Fields(want) {
			line := p.next()
			what := "tcp"
			if strings.Contains(flags, "u") {
				what, line = line[1], line[1:]
			}
			family := "4"
			if strings.HasPrefix(line[6], "[::1]:") {
				family = "6"
			}
			got = append(got, what+family)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: %s, want %s", flags, text, want)
		}
		p.end(true)
	}
}

func TestJSON(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	p := start(t, ns, "-json")
	begin := time.Now()
	ns.Do(func() {
		c, s := nstest.Pair(t, nstest.IPv4)
		send(t, c, s, 77)
		nstest.Close(t, c)
		nstest.Close(t, s)
	})
	for ends := 0; ends < 2; {
		if !p.lines.Scan() {
			t.Fatal(p.lines.Err())
		}
		var o struct {
			Time   time.Time
			Socket sockdiag.Socket
		}
		if err := json.Unmarshal(p.lines.Bytes(), &o); err != nil || o.Socket.Cookie == 0 {
			t.Fatalf("%v: %s", err, p.lines.Bytes())
		}
		if o.Socket.Remote.Port() == 0 {
			continue
		}
		ends++
		if o.Time.Before(begin.Truncate(0)) || o.Time.After(time.Now().Truncate(0)) {
			t.Errorf("time %v, it was %v to %v", o.Time, begin, time.Now())
		}
		if info := o.Socket.TCPInfo; info.BytesSent != 77 && info.BytesReceived/10*10 != 70 {
			t.Errorf("the numbers are not there: %s", p.lines.Bytes())
		}
	}
	if s := p.end(false); strings.Count(s, "\n") != 1 {
		t.Errorf("stderr %q", s)
	}
}

// overflow closes sockets that nobody reads of, and waits until the kernel, which
// announces them later, has dropped some of the announcements.
func overflow(t *testing.T, ns *nstest.Namespace, n int) {
	t.Helper()
	ns.Do(func() {
		for range n {
			closeOne(t, unix.SOCK_STREAM)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			table, err := os.ReadFile("/proc/thread-self/net/netlink")
			if err != nil {
				t.Error(err)
				return
			}
			for line := range strings.Lines(string(table)) {
				// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
				if f := strings.Fields(line); f[1] == strconv.Itoa(unix.NETLINK_SOCK_DIAG) && f[3] != "00000000" && f[8] != "0" {
					return
				}
			}
			if time.Now().After(deadline) {
				t.Errorf("the kernel has dropped nothing:\n%s", table)
				return
			}
		}
	})
}

// What did not fit is reported when it happens, and counted: every socket is
// either shown or counted as lost.
func TestLost(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	p := start(t, ns, "-buffer", "20000")
	const n = 500
	overflow(t, ns, n)
	var shown atomic.Int64
	go func() {
		for p.lines.Scan() {
			shown.Add(1)
		}
	}()
	lost := func() (sum int64) {
		for line := range strings.Lines(p.errs.String()) {
			var n int64
			if _, err := fmt.Sscanf(line, "watch: %d announcements were lost: ", &n); err == nil {
				sum += n
			}
		}
		return sum
	}
	for deadline := time.Now().Add(20 * time.Second); shown.Load()+lost() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d shown and %d lost, want %d", shown.Load(), lost(), n)
		}
	}
	want := fmt.Sprintf("watch: %d closed, 0 bytes sent, 0 received, 0 segments sent again; %d more lost\n", shown.Load(), lost())
	if s := p.end(false); lost() == 0 || !strings.HasSuffix(s, want) {
		t.Errorf("stderr %q, want at the end %q", s, want)
	}
}

// A stream of JSON tells of losses itself.
func TestLostJSON(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	p := start(t, ns, "-json", "-buffer", "20000")
	overflow(t, ns, 500)
	for sum := 0; sum < 500; {
		if !p.lines.Scan() {
			t.Fatal(p.lines.Err())
		}
		var o struct {
			Time   time.Time
			Socket *sockdiag.Socket
			Lost   int
		}
		if err := json.Unmarshal(p.lines.Bytes(), &o); err != nil || o.Time.IsZero() || (o.Socket == nil) != (o.Lost > 0) {
			t.Fatalf("%v: %s", err, p.lines.Bytes())
		}
		sum += max(o.Lost, 1)
		if o.Lost > 0 {
			p.end(false)
			return
		}
	}
	t.Error("nothing was lost")
}

// Ctrl-C ends with a summary and status 0, a closed pipe without a word.
func TestProcess(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, 0} {
			cmd := clitest.Command()
			out, errs := clitest.Start(t, cmd)
			lines := bufio.NewReader(out)
			if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "time ") {
				t.Fatalf("the header is %q, %v", line, err)
			}
			closeOne(t, unix.SOCK_STREAM)
			if line, err := lines.ReadString('\n'); err != nil || !strings.HasSuffix(line, " -\n") {
				t.Errorf("%q, %v", line, err)
			}
			if sig == 0 {
				_ = out.Close()
				closeOne(t, unix.SOCK_STREAM)
				err := cmd.Wait()
				if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err == nil || !ok || status.Signal() != syscall.SIGPIPE || errs.Len() > 0 {
					t.Errorf("a closed pipe: %v, stderr %q", err, errs)
				}
				continue
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
				t.Errorf("after %v: %q, %v", sig, rest, err)
			}
			if err := cmd.Wait(); err != nil || errs.String() != "watch: 1 closed, 0 bytes sent, 0 received, 0 segments sent again\n" {
				t.Errorf("after %v: %v, stderr %q", sig, err, errs)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args   []string
		status int
		words  []string
	}{
		{[]string{"-netns", "no-such-name"}, 1, []string{`no network namespace "no-such-name"`}},
		{[]string{"-netns", ""}, 2, []string{"-netns: no name given", "watch -h"}},
		{[]string{"-n", "-1"}, 2, []string{"-n", "watch -h"}},
		{[]string{"-buffer", "0"}, 2, []string{"-buffer: 0 bytes"}},
		{[]string{"-tx"}, 2, []string{"-x"}},
		{[]string{"state", "time-wait"}, 2, []string{"states before the end are not known"}},
		{[]string{"bogus"}, 2, []string{"column 1", `"bogus"`}},
		{[]string{"-4", "src", "inet6:[::1]"}, 2, []string{"IPv6 alone"}},
	} {
		clitest.Fails(t, "watch", tt.args, tt.status, tt.words...)
	}

	clitest.OnFullDisk(t, "watch")
}

func TestHelp(t *testing.T) {
	help := clitest.Help(t, "watch", 55)
	for _, name := range strings.Fields("t u 4 6 n json buffer netns") {
		if !strings.Contains(help, "\n  -"+name) {
			t.Errorf("nothing about -%s", name)
		}
	}
}
