package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// output is what -json prints. Its keys are spelled out here, for they are what
// others rely on.
type output struct {
	Limit    int `json:"limit"`
	TimeWait int `json:"time_wait"`
	FinWait2 int `json:"fin_wait2"`
	Left     []struct {
		From     int `json:"from"`
		To       int `json:"to"`
		TimeWait int `json:"time_wait"`
		FinWait2 int `json:"fin_wait2"`
	} `json:"seconds_left"`
	Destinations []dest `json:"destinations"`
	Sockets      []struct {
		Local       netip.AddrPort `json:"local"`
		Remote      netip.AddrPort `json:"remote"`
		State       string         `json:"state"`
		SecondsLeft float64        `json:"seconds_left"`
	} `json:"sockets"`
}

// jsonReport runs the program with -json, and leaves out how many ports are left.
func jsonReport(t *testing.T, args ...string) output {
	t.Helper()
	r := fullReport(t, args...)
	for i := range r.Destinations {
		r.Destinations[i].PortsLeft = nil
	}
	return r
}

func fullReport(t *testing.T, args ...string) (r output) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(clitest.Output(t, run, append(args, "-json")...)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(new(any)); err != io.EOF {
		t.Fatalf("more than one object: %v", err)
	}
	if r.Left == nil || r.Destinations == nil || r.Sockets == nil {
		t.Error("a list is null")
	}
	return r
}

type dest struct {
	Remote    string `json:"remote"`
	LocalPort uint16 `json:"clients_of_local_port"`
	Listening *bool  `json:"listening"`
	PortsLeft *int   `json:"ports_left"`
	TimeWait  int    `json:"time_wait"`
	FinWait2  int    `json:"fin_wait2"`
}

// The report is about the mini-sockets that were made, and about nothing else;
// ss agrees about each.
func TestReport(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		s := makeScene(t)
		before := time.Now()
		want := ssTimeWait(t)
		r := jsonReport(t)
		// ss cuts to whole seconds; the kernel rounds to its ticks.
		slack := time.Since(before) + time.Second + 50*time.Millisecond

		if r.TimeWait != s.minis-s.finWait2 || r.FinWait2 != s.finWait2 {
			t.Errorf("%d in TIME_WAIT and %d in FIN_WAIT2, want %d and %d", r.TimeWait, r.FinWait2, s.minis-s.finWait2, s.finWait2)
		}
		if len(r.Sockets) != s.minis || len(want) != s.minis {
			t.Errorf("%d sockets, of ss %d, want %d", len(r.Sockets), len(want), s.minis)
		}
		last := 0.0
		for _, got := range r.Sockets {
			ss, ok := want[[2]netip.AddrPort{got.Local, got.Remote}]
			if !ok || ss.state != got.State {
				t.Errorf("%+v: ss says %q", got, ss.state)
			}
			left := time.Duration(got.SecondsLeft * float64(time.Second))
			if left <= 0 || left > time.Minute || (left-ss.left).Abs() > slack {
				t.Errorf("%+v: ss says %v left", got, ss.left)
			}
			if got.SecondsLeft < last {
				t.Errorf("not the soonest first: %v after %v", got.SecondsLeft, last)
			}
			last = got.SecondsLeft
		}

		if want := setting(t, "tcp_max_tw_buckets"); strconv.Itoa(r.Limit) != want {
			t.Errorf("limit %d, want %s", r.Limit, want)
		}
		for _, d := range fullReport(t).Destinations {
			if (d.PortsLeft == nil) != (d.LocalPort != 0) {
				t.Errorf("ports left: %+v", d)
			}
		}
		if n := min(len(r.Destinations), len(s.destinations)); !cmp.Equal(r.Destinations[:n], s.destinations) {
			t.Errorf("destinations (-want +got):\n%s", cmp.Diff(s.destinations, r.Destinations))
		}
		var ofBuckets, ofDestinations [2]int
		for i, b := range r.Left {
			ofBuckets[0] += b.TimeWait
			ofBuckets[1] += b.FinWait2
			if b.From >= b.To || i > 0 && b.From != r.Left[i-1].To {
				t.Errorf("seconds_left: %+v", r.Left)
			}
			n := 0
			for _, got := range r.Sockets {
				if float64(b.From) < got.SecondsLeft && got.SecondsLeft <= float64(b.To) {
					n++
				}
			}
			if n != b.TimeWait+b.FinWait2 {
				t.Errorf("%d-%d seconds: %d sockets, listed are %d", b.From, b.To, b.TimeWait+b.FinWait2, n)
			}
		}
		for _, d := range r.Destinations {
			ofDestinations[0] += d.TimeWait
			ofDestinations[1] += d.FinWait2
		}
		if total := [2]int{r.TimeWait, r.FinWait2}; ofBuckets != total || ofDestinations != total {
			t.Errorf("%v in all, by seconds %v, by destination %v", total, ofBuckets, ofDestinations)
		}
	})
}

// text is what the text output says.
type text struct {
	head         string
	left         [][3]string // label, TIME_WAIT, FIN_WAIT2
	destinations [][3]string // TIME_WAIT, FIN_WAIT2, to
	sockets      [][4]string
	others, more string
}

func parseText(t *testing.T, out string) (x text) {
	t.Helper()
	parts := strings.Split(strings.TrimSuffix(out, "\n"), "\n\n")
	if len(parts) != 4 {
		t.Fatalf("%d paragraphs, want 4:\n%s", len(parts), out)
	}
	x.head = parts[0]
	row := func(line, head string, columns int) []string {
		f := strings.Fields(line)
		if len(f) < columns {
			t.Fatalf("line %q under %q", line, head)
		}
		return append(f[:columns-1:columns-1], strings.Join(f[columns-1:], " "))
	}
	for i, head := range []string{"seconds left  TIME_WAIT  FIN_WAIT2", "TIME_WAIT  FIN_WAIT2  to", "left  state"} {
		lines := strings.Split(parts[i+1], "\n")
		if !strings.HasPrefix(strings.TrimSpace(lines[0]), head) {
			t.Errorf("line %q, want %q", lines[0], head)
		}
		for _, line := range lines[1:] {
			switch {
			case i == 0:
				x.left = append(x.left, [3]string(row(line, head, 3)))
			case i == 1 && strings.Contains(line, " other"):
				x.others = strings.Join(strings.Fields(line), " ")
			case i == 1:
				x.destinations = append(x.destinations, [3]string(row(line, head, 3)))
			case strings.Contains(line, "more"):
				x.more = line
			default:
				x.sockets = append(x.sockets, [4]string(row(line, head, 4)))
			}
		}
	}
	return x
}

var portsLeft = regexp.MustCompile(` \(\d+ local ports left\)$`)

func setting(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// As many local ports are left as connects succeed.
func TestPortsLeft(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		for name, value := range map[string]string{"ip_local_port_range": "40000 40029", "tcp_tw_reuse": "0", "tcp_rfc1337": "1"} {
			nstest.Set(t, "ipv4/"+name, value)
		}
		l := listen(t, "127.0.0.1:5432")
		for range 12 {
			client, server := pair(t, l)
			if err := client.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, server); err != nil {
				t.Fatal(err)
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r := fullReport(t)
		for deadline := time.Now().Add(20 * time.Second); r.TimeWait != 12 || r.FinWait2 != 0; r = fullReport(t) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v", r)
			}
		}
		if len(r.Destinations) != 1 || r.Destinations[0].Remote != "127.0.0.1:5432" || r.Destinations[0].PortsLeft == nil {
			t.Fatalf("%+v", r.Destinations)
		}
		if out := clitest.Output(t, run); !strings.Contains(out, fmt.Sprintf(" 127.0.0.1:5432 (%d local ports left)\n", *r.Destinations[0].PortsLeft)) {
			t.Errorf("%s", out)
		}
		n := 0
		for ; ; n++ {
			c, err := net.Dial("tcp", "127.0.0.1:5432")
			if errors.Is(err, syscall.EADDRNOTAVAIL) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if n != *r.Destinations[0].PortsLeft || n != 18 {
			t.Errorf("%d connects succeed, want 18; the report said %d", n, *r.Destinations[0].PortsLeft)
		}
	})
}

func pair(t *testing.T, l net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// The text has the numbers that were made, in a form that fits a terminal.
func TestText(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		s := makeScene(t)
		out := clitest.Output(t, run)
		for line := range strings.Lines(out) {
			if len(line) > 80 || strings.TrimRight(line, " \n")+"\n" != line {
				t.Errorf("line of %d bytes: %q", len(line), line)
			}
		}
		if n := strings.Count(out, "\n"); n > 23 {
			t.Errorf("%d lines do not fit a screen of 24 with the prompt:\n%s", n, out)
		}
		x := parseText(t, out)
		if want := fmt.Sprintf("%d in TIME_WAIT, %d in FIN_WAIT2", s.minis-s.finWait2, s.finWait2); !strings.HasPrefix(x.head, want) {
			t.Errorf("%q, want %q", x.head, want)
		}
		sum := func(rows [][3]string, column int) (n int) {
			for _, r := range rows {
				v, err := strconv.Atoi(strings.Fields(r[column])[0])
				if err != nil {
					t.Fatal(err)
				}
				n += v
			}
			return n
		}
		for i := range x.left {
			x.left[i][2] = strings.Fields(x.left[i][2])[0] // without the bar
		}
		if a, b := sum(x.left, 1), sum(x.left, 2); a != s.minis-s.finWait2 || b != s.finWait2 {
			t.Errorf("seconds left: %d and %d in all:\n%s", a, b, out)
		}
		for i, d := range s.destinations {
			to := d.Remote
			if to == "" {
				to = fmt.Sprintf("clients of our port %d", d.LocalPort)
			}
			if d.LocalPort == 0 && len(x.destinations) > i {
				x.destinations[i][2] = portsLeft.ReplaceAllString(x.destinations[i][2], "")
			}
			if want := [3]string{strconv.Itoa(d.TimeWait), "0", to}; len(x.destinations) <= i || x.destinations[i] != want {
				t.Errorf("destination %d is not %v:\n%s", i, want, out)
			}
		}
		if len(x.sockets) != 5 || x.more != fmt.Sprintf("%d more (-n 0 lists all)", s.minis-5) {
			t.Errorf("%d sockets and %q", len(x.sockets), x.more)
		}

		// The first two of each, and how many there are besides.
		x = parseText(t, clitest.Output(t, run, "-n", "2"))
		listed := s.destinations[0].TimeWait + s.destinations[1].TimeWait
		others := fmt.Sprintf("%d %d %d others", s.minis-s.finWait2-listed, s.finWait2, len(jsonReport(t).Destinations)-2)
		if len(x.destinations) != 2 || x.others != others || len(x.sockets) != 2 || x.more != fmt.Sprintf("%d more (-n 0 lists all)", s.minis-2) {
			t.Errorf("-n 2: %+v, want others %q", x, others)
		}
		// As JSON it lists all, unless told otherwise, and be it what is the default of text.
		for _, n := range []int{2, 5} {
			if j := jsonReport(t, "-n", strconv.Itoa(n)); len(j.Destinations) != n || len(j.Sockets) != n || j.TimeWait+j.FinWait2 != s.minis {
				t.Errorf("-n %d -json: %+v", n, j)
			}
		}
		for _, args := range [][]string{nil, {"-n=0"}} {
			if j := jsonReport(t, args...); len(j.Sockets) != s.minis || len(j.Destinations) <= 5 {
				t.Errorf("%q -json: %+v", args, j)
			}
		}
		// All of them.
		x = parseText(t, clitest.Output(t, run, "-n=0"))
		if len(x.sockets) != s.minis || x.others != "" || x.more != "" || sum(x.destinations, 0) != s.minis-s.finWait2 {
			t.Errorf("-n 0: %d sockets, %q, %q", len(x.sockets), x.others, x.more)
		}
		seconds := regexp.MustCompile(`^\d+\.\ds$`)
		for _, row := range x.sockets {
			if !seconds.MatchString(row[0]) {
				t.Errorf("row %q", row)
			}
		}
		// The same, but for the clock, to a pipe.
		piped, errs, status := clitest.Exit(t, clitest.Command("-n=0"))
		if y := parseText(t, piped); status != 0 || errs != "" || len(y.sockets) != s.minis || y.head != x.head || y.destinations[0] != x.destinations[0] {
			t.Errorf("in a pipe: status %d, stderr %q, stdout\n%s", status, errs, piped)
		}
	})
}

func TestNoSockets(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		if out := clitest.Output(t, run); out != "0 in TIME_WAIT\n" {
			t.Errorf("%q", out)
		}
		r := jsonReport(t)
		if r.TimeWait != 0 || r.FinWait2 != 0 || len(r.Destinations) != 0 || len(r.Sockets) != 0 {
			t.Errorf("%+v", r)
		}
		clitest.OnFullDisk(t, "timewait")
	})
}

// Times that do not fit a minute (kernels stretch FIN_WAIT2 over slow peers) get
// wider rows, not more of them.
func TestBuckets(t *testing.T) {
	for _, tt := range []struct {
		left  time.Duration
		width int
		row   int
	}{
		{0, 15, 0}, {1, 15, 0}, {15 * time.Second, 15, 0}, {15*time.Second + 1, 15, 1}, {60 * time.Second, 15, 3},
		{60*time.Second + 1, 30, 2}, {120 * time.Second, 30, 3}, {7 * time.Minute, 120, 3},
	} {
		r := &report{Left: buckets(tt.left)}
		r.bucket(tt.left.Seconds()).add(tcpstate.FinWait2)
		for i, b := range r.Left {
			if b.From != i*tt.width || b.To != (i+1)*tt.width || (b.FinWait2 == 1) != (i == tt.row) || len(r.Left) != 4 {
				t.Errorf("%v: %+v, want row %d of %d seconds each", tt.left, r.Left, tt.row, tt.width)
			}
		}
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct{ n, most, want int }{{0, 5, 0}, {5, 5, 40}, {1, 100000, 1}, {50, 100, 20}, {99, 100, 39}} {
		if got := bar(tt.n, tt.most); got != strings.Repeat("#", tt.want) {
			t.Errorf("bar(%d, %d) = %q", tt.n, tt.most, got)
		}
	}
}

func TestNetNS(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() { nstest.TimeWait(t, nstest.IPv6, 3) })
	if r := jsonReport(t, "-netns", clitest.Path(there)); r.TimeWait != 3 {
		t.Errorf("by a path: %+v", r)
	}
	clitest.InNamedNamespace(t, there, "green", func() {
		if r := jsonReport(t, "-netns", "green"); r.TimeWait != 3 {
			t.Errorf("by a name: %+v", r)
		}
		if r := jsonReport(t); r.TimeWait != 0 {
			t.Errorf("without -netns: %+v, want the caller's namespace, which is empty", r)
		}
	})
}

func TestWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	cmd := clitest.Command("-netns", clitest.Inherited)
	clitest.Unprivileged(t, cmd, nstest.NewNamespace(t))
	out, errs, status := clitest.Exit(t, cmd)
	if status != 1 || out != "" {
		t.Errorf("without privilege: status %d, stdout %q", status, out)
	}
	clitest.OneLine(t, errs, "timewait", clitest.Inherited, "CAP_SYS_ADMIN")
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args   []string
		status int
		words  []string
	}{
		{[]string{"-netns", "no-such-name"}, 1, []string{`no network namespace "no-such-name"`}},
		{[]string{"-netns", os.DevNull}, 1, []string{"not a network namespace"}},
		{[]string{"-netns", ""}, 2, []string{"-netns: no name given", "timewait -h"}},
		{[]string{"-json", "-netns="}, 2, []string{"-netns: no name given"}},
		{[]string{"-n", "-1"}, 2, []string{"-n", "-1"}},
		{[]string{"-n", "x"}, 2, []string{"-n", `"x"`}},
		{[]string{"10"}, 2, []string{`unexpected argument "10"`, "timewait -h"}},
	} {
		clitest.Fails(t, "timewait", tt.args, tt.status, tt.words...)
	}
}

func TestHelp(t *testing.T) {
	clitest.Help(t, "timewait", 35, "-json", "-n N", "with -json all", "-netns", "FIN_WAIT2", "/run/netns", "closed first", "10 peers")
}
