package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

const firstPort = 32768

// destination listens for makeTimeWait.
var destination = netip.MustParseAddrPort("127.0.0.1:5432")

// makeTimeWait closes n connections to the destination, on which a listener stays,
// from the first ports of the range on. It goes fast: 28,000 must be made within the
// minute that they last, and connect() looks long for a free port among many. So each
// is told its port (Linux 6.3; bind would take the port for good). It ends early at
// the time, and returns how many there are.
//
// Where a machine is so busy that a FIN is sent twice, the second one finds TIME_WAIT,
// which answers; at the other end nobody is left for that answer, and a RST comes
// back. So that this ends no TIME_WAIT, callers that count set tcp_rfc1337.
func makeTimeWait(t *testing.T, n int, until time.Time) (made int) {
	t.Helper()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must("socket", err)
		return fd
	}
	to := &unix.SockaddrInet4{Port: int(destination.Port()), Addr: destination.Addr().As4()}
	l := socket()
	t.Cleanup(func() { _ = unix.Close(l) })
	must("bind", unix.Bind(l, to))
	must("listen", unix.Listen(l, 1000))
	for made < n && time.Now().Before(until) {
		c := socket()
		const localPortRange = 51
		if err := unix.SetsockoptInt(c, unix.IPPROTO_IP, localPortRange, (firstPort+made)<<16|(firstPort+made)); err != nil {
			nstest.Skip(t, "IP_LOCAL_PORT_RANGE: %v", err)
		}
		for {
			err := unix.Connect(c, to)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if !errors.Is(err, unix.EISCONN) {
				must("connect", err)
			}
			break
		}
		var s int
		for {
			var err error
			if s, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC); !errors.Is(err, unix.EINTR) {
				must("accept", err)
				break
			}
		}
		must("close", unix.Close(c))
		must("close", unix.Close(s))
		made++
	}
	// The last ones may be under way: each has one socket that connected, in TIME_WAIT
	// in the end, and one that was accepted, which is there too if they closed at the
	// same time.
	for deadline := time.Now().Add(20 * time.Second); closing(t) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("connections do not end")
		}
	}
	return made
}

// closing is how many connections of the namespace are neither in TIME_WAIT nor gone.
func closing(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "TCP: inuse ")
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n - 1 // the listener
}

// output runs the program in the calling thread's namespace.
func output(t *testing.T, args ...string) (out, errs string, status int) {
	t.Helper()
	return clitest.Exit(t, clitest.Command(args...))
}

// 28,000 TIME_WAITs to one destination, which is what leads people here: it is
// named, with what is left, until when, and what to do first.
func TestPortsRunOut(t *testing.T) {
	nstest.RequireNamespace(t)
	n := 28000
	if testing.Short() {
		n = 2000
	}
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_tw_reuse", "0")
		nstest.Set(t, "ipv4/tcp_rfc1337", "1")
		nstest.Set(t, "ipv4/ip_local_port_range", fmt.Sprintf("%d %d", firstPort, firstPort+n-1))
		// Fewer on a machine on which they would not all be there at the same time.
		n = makeTimeWait(t, n, time.Now().Add(25*time.Second))
		free := n * 29 / 3500 // 232 of 28,232 are left, or as large a share
		nstest.Set(t, "ipv4/ip_local_port_range", fmt.Sprintf("%d %d", firstPort, firstPort+n+free-1))
		out, errs, status := output(t, "-wait", "1s")
		if status != 2 || errs != "" {
			t.Errorf("status %d, stderr %q", status, errs)
		}
		flat := strings.Join(strings.Fields(out), " ")
		first, _, _ := strings.Cut(flat, " why ")
		for _, words := range []string{"CRITICAL", fmt.Sprintf("%d of %d local ports", free, n+free), "127.0.0.1:5432", fmt.Sprintf("(%d in TIME_WAIT)", n)} {
			if !strings.Contains(first, words) {
				t.Errorf("no %q in %q; %s", words, first, counters(t))
			}
		}
		for _, words := range []string{
			"do 1. Keep connections and use them again: a pool", fmt.Sprintf("headroom %d,", free),
			"sysctl -w net.ipv4.tcp_tw_reuse=1 (undo: sysctl -w net.ipv4.tcp_tw_reuse=0)", "WARNING TIME_WAITs are not taken over (tcp_tw_reuse=0)", "Looked twice, ",
		} {
			if !strings.Contains(flat, words) {
				t.Errorf("no %q in\n%s", words, out)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("colour where there is no terminal:\n%q", out)
		}
		for line := range strings.Lines(out) {
			if len(line) > 81 && !strings.Contains(line, "sysctl -w") {
				t.Errorf("a line of %d: %q", len(line), line)
			}
		}

		// Once, made all in a few seconds: the rate alone tells until when.
		out, _, status = output(t, "-once", "-json")
		var r struct {
			Severity string `json:"severity"`
			Findings []struct {
				ID       string            `json:"id"`
				Severity string            `json:"severity"`
				Summary  string            `json:"summary"`
				Evidence []health.Evidence `json:"evidence"`
				Remedies []health.Remedy   `json:"remedies"`
			} `json:"findings"`
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != 2 || r.Severity != "critical" || len(r.Findings) < 2 {
			t.Fatalf("status %d, %v: %s", status, err, out)
		}
		if f := r.Findings[0]; f.ID != "TW-PORT-EXHAUST" || f.Severity != "critical" {
			t.Errorf("%+v", f)
		}
	})
}

// counters are what the kernel has counted of TCP, for a test that fails.
func counters(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\nTcp: ")
	text, _, _ = strings.Cut(text, "\nUdp: ")
	return text
}

// When ports run out is said where connections go on to be closed.
func TestUntilWhen(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_tw_reuse", "0")
		nstest.Set(t, "ipv4/ip_local_port_range", "32768 32967") // two hundred
		nstest.Set(t, "ipv4/tcp_rfc1337", "1")
		makeTimeWait(t, 190, time.Now().Add(time.Minute))
		out, _, status := output(t, "-once")
		if flat := strings.Join(strings.Fields(out), " "); status != 1 || !strings.Contains(flat, "10 of 200 local ports are left for 127.0.0.1:5432 (190 in TIME_WAIT): connects fail in about ") {
			t.Errorf("status %d:\n%s", status, out)
		}
	})
}

// Where nothing is wrong it says so in two lines.
func TestHealthy(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		makeTimeWait(t, 3, time.Now().Add(time.Minute))
		for _, tt := range []struct {
			args  []string
			lines int
			words []string
		}{
			{[]string{"-wait", "1s"}, 2, []string{"Nothing is wrong", "of them in TIME_WAIT", "local ports left", "Looked twice, ", "s apart; 1 thing worth knowing (-all)."}},
			{[]string{"-once"}, 2, []string{"Nothing is wrong", "Looked once"}},
		} {
			out, errs, status := output(t, tt.args...)
			if status != 0 || errs != "" || strings.Count(out, "\n") != tt.lines {
				t.Errorf("%q: status %d, stderr %q\n%s", tt.args, status, errs, out)
			}
			for _, words := range tt.words {
				if !strings.Contains(out, words) {
					t.Errorf("%q: no %q in %q", tt.args, words, out)
				}
			}
		}
		if out, _, status := output(t, "-once", "-all"); status != 0 || !strings.Contains(out, "INFO      orphans and TCP's memory") || !strings.Contains(out, "Nothing is wrong") {
			t.Errorf("status %d:\n%s", status, out)
		}
	})
}

// On a terminal there is colour, and a line that tells how long it takes, which is
// gone in the end.
func TestTerminal(t *testing.T) {
	nstest.RequireNamespace(t)
	if _, err := exec.LookPath("script"); err != nil {
		nstest.Skip(t, "the program script: %v", err)
	}
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_syncookies", "0")
		cmd := clitest.Command()
		// script(1) gives it a terminal, which prints both of its outputs.
		cmd.Path, _ = exec.LookPath("script")
		cmd.Args = []string{"script", "-qec", "/proc/" + fmt.Sprint(os.Getpid()) + "/exe -wait 1s", "/dev/null"}
		out, _, status := clitest.Exit(t, cmd)
		if status != 1 || !strings.Contains(out, "\x1b[1;33mWARNING\x1b[0m   SYN cookies are off") {
			t.Errorf("status %d: %q", status, out)
		}
		if !strings.Contains(out, "\rlooking again in 1 s ") || !strings.Contains(out, "\r\x1b[K") {
			t.Errorf("no progress: %q", out)
		}
	})
}

func TestNetNS(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() { nstest.Set(t, "ipv4/tcp_syncookies", "0") })
	if severity, err := run(t.Context(), []string{"-once", "-netns", clitest.Path(there)}, new(strings.Builder), new(strings.Builder)); severity != health.Warning || err != nil {
		t.Errorf("%v, %v", severity, err)
	}
}

// Commands are for the namespace that was looked into, but for the host's settings.
func TestCommandsThere(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() { nstest.Set(t, "ipv4/tcp_syncookies", "0") })
	var out strings.Builder
	if _, err := run(t.Context(), []string{"-once", "-netns", clitest.Path(there)}, &out, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"nsenter --net=" + clitest.Path(there) + " sysctl -w net.ipv4.tcp_syncookies=1\n", "(undo: nsenter --net=" + clitest.Path(there) + " sysctl -w net.ipv4.tcp_syncookies=0)\n"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("no %q in\n%s", words, &out)
		}
	}
	findings := []health.Finding{{Remedies: []health.Remedy{
		{Do: "nothing"}, {Set: "sysctl -w net.netfilter.nf_conntrack_max=2", Undo: "sysctl -w net.netfilter.nf_conntrack_max=1"},
	}}}
	inside(enter("7"), findings)
	if r := findings[0].Remedies; r[0].Set != "" || r[0].Undo != "" || r[1].Set != "sysctl -w net.netfilter.nf_conntrack_max=2" {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]string{
		"": "", "/proc/7/ns/net": "nsenter --net=/proc/7/ns/net ", "7": "nsenter --net --target 7 ", "/tmp/it's here": `nsenter --net='/tmp/it'\''s here' `,
	} {
		if got := enter(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// Lines that set what kernels no longer have.
func TestRecycleConf(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	good := fstest.MapFS{"etc/sysctl.conf": file("# net.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_tw_reuse=1\nnet.ipv4.tcp_tw_recycle\n; net.ipv4.tcp_tw_recycle=1\n"), "etc/sysctl.d/README": file("net.ipv4.tcp_tw_recycle=1\n")}
	if found := recycleConf(good); found != nil {
		t.Errorf("%+v", found)
	}
	good["etc/sysctl.conf"] = file("net.ipv4.tcp_syncookies = 1\n  net.ipv4.tcp_tw_recycle = 1\n")
	good["etc/sysctl.d/10-old.conf"] = file("-net/ipv4/tcp_tw_recycle=0")
	found := recycleConf(good)
	if len(found) != 1 || found[0].ID != health.Recycle || found[0].Severity != health.Info || found[0].Evidence[0].Value != "/etc/sysctl.conf:2, /etc/sysctl.d/10-old.conf:1" {
		t.Errorf("%+v", found)
	}
}

// Ctrl-C while it looks, or waits.
func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	_, looking := run(ctx, []string{"-wait", "1h"}, new(strings.Builder), new(strings.Builder))
	for _, err := range []error{looking, pause(ctx, time.Hour, new(strings.Builder))} {
		var errs strings.Builder
		if n := status(0, err, &errs); n != 3 || errs.String() != "doctor: interrupted\n" {
			t.Errorf("status %d, stderr %q", n, &errs)
		}
	}
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args  []string
		words []string
	}{
		{[]string{"-netns", "no-such-name"}, []string{`no network namespace "no-such-name"`}},
		{[]string{"-netns", ""}, []string{"-netns: no name given", "doctor -h"}},
		{[]string{"-wait", "0s"}, []string{"-wait", "0s"}},
		{[]string{"-wait", "soon"}, []string{"-wait", "soon"}},
		{[]string{"now"}, []string{`unexpected argument "now"`}},
	} {
		out, errs, status := output(t, tt.args...)
		if status != 3 || out != "" {
			t.Errorf("%q: status %d, stdout %q", tt.args, status, out)
		}
		clitest.OneLine(t, errs, "doctor", tt.words...)
	}
	cmd := clitest.Command("-once", "-netns", clitest.Inherited)
	clitest.Unprivileged(t, cmd, nstest.NewNamespace(t))
	out, errs, status := clitest.Exit(t, cmd)
	if status != 3 || out != "" {
		t.Errorf("without privilege: status %d, stdout %q", status, out)
	}
	clitest.OneLine(t, errs, "doctor", "CAP_SYS_ADMIN")
}

func TestHelp(t *testing.T) {
	clitest.Help(t, "doctor", 40, "-once", "-wait TIME", "-json", "-netns", "exit status is 0")
}
