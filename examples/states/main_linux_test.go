package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// jsonCounts runs the program with -json.
func jsonCounts(t *testing.T, args ...string) map[string]uint64 {
	t.Helper()
	return parseJSON(t, clitest.Output(t, run, append(args, "-json")...))
}

func parseJSON(t *testing.T, line string) map[string]uint64 {
	t.Helper()
	if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		t.Fatalf("not one line: %q", line)
	}
	var counts map[string]uint64
	if err := json.Unmarshal([]byte(line), &counts); err != nil || counts == nil {
		t.Fatalf("%q: %v", line, err)
	}
	return counts
}

// ssCounts is ss -Htan | awk '{print $1}' | sort | uniq -c, with the names that
// netstat has for the states.
func ssCounts(t *testing.T, options ...string) map[string]uint64 {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	out, err := exec.Command(path, append([]string{"-Htan"}, options...)...).Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	names := map[string]string{"ESTAB": "ESTABLISHED", "SYN-SENT": "SYN_SENT", "SYN-RECV": "SYN_RECV", "FIN-WAIT-1": "FIN_WAIT1",
		"FIN-WAIT-2": "FIN_WAIT2", "TIME-WAIT": "TIME_WAIT", "UNCONN": "CLOSE", "CLOSE-WAIT": "CLOSE_WAIT", "LAST-ACK": "LAST_ACK",
		"LISTEN": "LISTEN", "CLOSING": "CLOSING"}
	counts := map[string]uint64{}
	for line := range strings.Lines(string(out)) {
		name, ok := names[strings.Fields(line)[0]]
		if !ok {
			t.Fatalf("ss says %q", line)
		}
		counts[name]++
	}
	return counts
}

// table reads the text output, and checks its form: columns, most first.
func table(t *testing.T, text string) map[string]uint64 {
	t.Helper()
	counts := map[string]uint64{}
	last, width := ^uint64(0), 0
	for line := range strings.Lines(text) {
		var name string
		var n uint64
		if _, err := fmt.Sscanf(line, "%s %d\n", &name, &n); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if width != 0 && len(line) != width {
			t.Errorf("the numbers do not end in one column:\n%s", text)
		}
		if n > last {
			t.Errorf("not the most first:\n%s", text)
		}
		counts[name], last, width = n, n, len(line)
	}
	return counts
}

// boundOnly takes the bound-only sockets out, which ss does not show: they are
// in neither of the tables that it walks.
func boundOnly(t *testing.T, counts map[string]uint64) (bound uint64) {
	t.Helper()
	bound = counts["BOUND_INACTIVE"]
	delete(counts, "BOUND_INACTIVE")
	r, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	if bound == 0 && r.AtLeast(6, 8) {
		t.Error("no bound-only sockets, though some were made")
	}
	return bound
}

// With thousands of sockets in every state and of both families the numbers are
// those of ss, in JSON and in text.
func TestNumbersOfSS(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		mapped := uint64(0)
		for _, family := range nstest.Families {
			made := nstest.States(t, family)
			if family == nstest.Mapped {
				mapped = uint64(len(made))
			}
		}
		nstest.Many(t, nstest.IPv4, 600, 1000)
		nstest.Many(t, nstest.IPv6, 400, 600)

		byFamily := map[string]uint64{}
		for _, options := range [][]string{nil, {"-4"}, {"-6"}} {
			counts := jsonCounts(t, options...)
			for _, n := range counts {
				byFamily[strings.Join(options, "")] += n
			}
			text := table(t, clitest.Output(t, run, options...))
			if diff := cmp.Diff(counts, text); diff != "" {
				t.Errorf("%v: JSON (-), text (+):\n%s", options, diff)
			}
			boundOnly(t, counts)
			if len(counts) < 10 || counts["TIME_WAIT"] < 600 {
				t.Errorf("%v: too little to compare: %v", options, counts)
			}
			if diff := cmp.Diff(ssCounts(t, options...), counts); diff != "" {
				t.Errorf("%v: ss (-), we (+):\n%s", options, diff)
			}
		}
		if byFamily[""] != byFamily["-4"]+byFamily["-6"] || byFamily["-6"] < 400*2+600+mapped {
			t.Errorf("sockets by option: %v, %d of them v4-mapped", byFamily, mapped)
		}
		if both := jsonCounts(t, "-4", "-6"); !maps.Equal(both, jsonCounts(t)) {
			t.Errorf("-4 -6: %v", both)
		}

		for list, want := range map[string][]string{
			"time-wait":                  {"TIME_WAIT"},
			"FIN_WAIT2, time-wait":       {"FIN_WAIT2", "TIME_WAIT"},
			"listening":                  {"LISTEN"},
			"bucket":                     {"SYN_RECV", "TIME_WAIT"},
			"connected":                  {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE_WAIT", "LAST_ACK", "CLOSING"},
			"close-wait last-ack estab ": {"CLOSE_WAIT", "LAST_ACK", "ESTABLISHED"},
		} {
			all, got := ssCounts(t), jsonCounts(t, "-state", list)
			maps.DeleteFunc(all, func(name string, _ uint64) bool { return !slices.Contains(want, name) })
			if diff := cmp.Diff(all, got); diff != "" {
				t.Errorf("-state %q: ss (-), we (+):\n%s", list, diff)
			}
			if len(got) != len(want) {
				t.Errorf("-state %q: %v, want %v", list, got, want)
			}
			if diff := cmp.Diff(got, table(t, clitest.Output(t, run, "-state="+list))); diff != "" {
				t.Errorf("-state %q: JSON (-), text (+):\n%s", list, diff)
			}
		}
		if bound := boundOnly(t, jsonCounts(t, "-state", "bound-inactive")); bound != boundOnly(t, jsonCounts(t)) {
			t.Errorf("-state bound-inactive: %d", bound)
		}
	})
}

// IPv4 connections of IPv6 sockets count as IPv6, as the help says.
func TestMapped(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Pair(t, nstest.Mapped)
		if got := jsonCounts(t, "-6"); !maps.Equal(got, map[string]uint64{"ESTABLISHED": 2}) {
			t.Errorf("-6: %v", got)
		}
		if got := jsonCounts(t, "-4"); len(got) != 0 {
			t.Errorf("-4: %v", got)
		}
	})
}

// The whole text, as the documentation shows it.
func TestText(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Many(t, nstest.IPv4, 6, 3)
		want := "ESTABLISHED  12\nTIME_WAIT     3\n"
		if got := clitest.Output(t, run); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		// The same to a pipe, by a process of its own.
		if got, errs, status := clitest.Exit(t, clitest.Command()); got != want || errs != "" || status != 0 {
			t.Errorf("in a pipe: status %d, stderr %q, stdout\n%s", status, errs, got)
		}
		want = `{"ESTABLISHED":12,"TIME_WAIT":3}` + "\n"
		if got, errs, status := clitest.Exit(t, clitest.Command("-json")); got != want || errs != "" || status != 0 {
			t.Errorf("-json in a pipe: status %d, stderr %q, stdout\n%s", status, errs, got)
		}

		for _, args := range [][]string{nil, {"-json"}} {
			clitest.OnFullDisk(t, "states", args...)
		}
	})
}

func TestNoSockets(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		for want, commands := range map[string][][]string{
			"no TCP sockets\n":  {nil, {"-4", "-6"}, {"-state", "all"}, {"-state", "big,bucket"}},
			"no such sockets\n": {{"-4"}, {"-6"}, {"-state", "time-wait"}, {"-state", "connected"}},
		} {
			for _, args := range commands {
				out, errs, status := clitest.Exit(t, clitest.Command(args...))
				if out != "" || errs != want || status != 0 {
					t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, out, errs)
				}
			}
		}
		if out := clitest.Output(t, run, "-json"); out != "{}\n" {
			t.Errorf("-json: %q", out)
		}
	})
}

func TestNetNS(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() { nstest.Pair(t, nstest.IPv4) })
	want := map[string]uint64{"ESTABLISHED": 2}
	if got := jsonCounts(t, "-netns", clitest.Path(there)); !maps.Equal(got, want) {
		t.Errorf("by a path: %v", got)
	}

	// /proc/PID/ns/net, of a process that is in the namespace.
	cmd := clitest.Command("-watch", "1h")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	there.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it has begun
		t.Error(err)
	}
	if got := jsonCounts(t, "-netns", fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)); !maps.Equal(got, want) {
		t.Errorf("of a process: %v", got)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	clitest.InNamedNamespace(t, there, "blue", func() {
		if got := jsonCounts(t, "-netns", "blue"); !maps.Equal(got, want) {
			t.Errorf("by a name: %v", got)
		}
		out, errs, status := clitest.Exit(t, clitest.Command("-netns", "blue"))
		if out != "ESTABLISHED  2\n" || errs != "" || status != 0 {
			t.Errorf("by a name, in a process: status %d, stdout %q, stderr %q", status, out, errs)
		}
		if got := jsonCounts(t); len(got) != 0 {
			t.Errorf("without -netns: %v, want the caller's namespace, which is empty", got)
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
		{[]string{"-netns", "/no/such/path"}, 1, []string{`no network namespace "/no/such/path"`}},
		{[]string{"-netns", os.DevNull}, 1, []string{os.DevNull, "not a network namespace"}},
		{[]string{"-state", "time-wait,bogus"}, 2, []string{"-state", `"bogus"`, "TIME_WAIT"}},
		{[]string{"-state", "none"}, 2, []string{"-state", `"none" selects nothing`}},
		{[]string{"-state", "none,bogus"}, 2, []string{`"bogus"`}},
		{[]string{"-state", "State(32)"}, 2, []string{`"State(32)"`}},
		{[]string{"-state="}, 2, []string{"-state: no states given"}},
		{[]string{"-state", " ,\t"}, 2, []string{"-state: no states given"}},
		{[]string{"-netns", ""}, 2, []string{"-netns: no name given", "states -h"}},
		{[]string{"-state"}, 2, []string{"-state"}},
		{[]string{"time-wait"}, 2, []string{`unexpected argument "time-wait"`, "states -h"}},
		{[]string{"-json", "--", "x"}, 2, []string{`unexpected argument "x"`}},
		{[]string{"-5"}, 2, []string{"-5"}},
		{[]string{"-watch", "often"}, 2, []string{"-watch", `"often"`}},
		{[]string{"-watch", "-1s"}, 2, []string{"-watch", "-1s"}},
	} {
		out, errs, status := clitest.Exit(t, clitest.Command(tt.args...))
		if status != tt.status || out != "" {
			t.Errorf("%q: status %d, stdout %q", tt.args, status, out)
		}
		clitest.OneLine(t, errs, "states", tt.words...)
		if _, hint, _ := strings.Cut(errs, "group ("); strings.Contains(hint, "none") {
			t.Errorf("%q: offers none, which is refused: %q", tt.args, errs)
		}
	}
}

// Without privilege the own namespace can be looked at, and no other.
func TestWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Pair(t, nstest.IPv4)
		cmd := clitest.Command("-netns", clitest.Inherited)
		clitest.Unprivileged(t, cmd, there)
		out, errs, status := clitest.Exit(t, cmd)
		if status != 1 || out != "" {
			t.Errorf("another's: status %d, stdout %q", status, out)
		}
		clitest.OneLine(t, errs, "states", clitest.Inherited, "CAP_SYS_ADMIN", "operation not permitted\n")

		for _, args := range [][]string{nil, {"-netns", "/proc/self/ns/net"}} {
			cmd = clitest.Command(args...)
			clitest.Unprivileged(t, cmd, there)
			out, errs, status = clitest.Exit(t, cmd)
			if status != 0 || out != "ESTABLISHED  2\n" || errs != "" {
				t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, out, errs)
			}
		}
	})
}

func TestHelp(t *testing.T) {
	help := clitest.Help(t, "states", 35, "-4", "-6", "-json", "-netns", "-state", "-watch", "/run/netns", "CAP_SYS_ADMIN", "nsenter -U -n -t PID", "6.8")
	// Where v4-mapped sockets count: in the lines about -6.
	_, six, _ := strings.Cut(help, "\n  -6")
	six, _, _ = strings.Cut(six, "\n  -")
	if !strings.Contains(six, "v4-mapped") {
		t.Error("nothing about v4-mapped sockets under -6")
	}

	// All that -state takes. The kernel's own number for request sockets is
	// left out: no socket is counted under it.
	words := strings.FieldsFunc(help, func(r rune) bool { return strings.ContainsRune(" ,;:\n", r) })
	for s := tcpstate.Established; s.Valid(); s++ {
		if s != tcpstate.NewSynRecv && !slices.Contains(words, s.String()) {
			t.Errorf("no state %v", s)
		}
	}
	for _, group := range []string{"all", "connected", "synchronized", "bucket", "big"} {
		if !slices.Contains(words, group) {
			t.Errorf("no group %s", group)
		}
	}
}

// The help says what each group is.
func TestGroups(t *testing.T) {
	named := tcpstate.SetOf(tcpstate.Established, tcpstate.SynSent, tcpstate.SynRecv, tcpstate.FinWait1, tcpstate.FinWait2,
		tcpstate.TimeWait, tcpstate.Closed, tcpstate.CloseWait, tcpstate.LastAck, tcpstate.Listen, tcpstate.Closing, tcpstate.BoundInactive)
	connected := named.Without(tcpstate.Listen, tcpstate.Closed, tcpstate.BoundInactive)
	bucket := tcpstate.SetOf(tcpstate.SynRecv, tcpstate.TimeWait)
	for list, want := range map[string]tcpstate.Set{
		"all": named, "connected": connected, "synchronized": connected.Without(tcpstate.SynSent), "bucket": bucket, "big": named &^ bucket,
	} {
		if got, err := parseStates(list); err != nil || got&named != want {
			t.Errorf("%s: %v, %v, want %v", list, got&named, err, want)
		}
	}
}
