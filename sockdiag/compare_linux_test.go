package sockdiag_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/sockopt"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Counts are those of ss and of /proc, in a namespace with every state and some
// thousands of sockets, of both families.
func TestCountIsThatOfOthers(t *testing.T) {
	nstest.RequireNamespace(t)
	// In a namespace of its own, where no TIME_WAIT of another test ends meanwhile, and
	// on its thread, for ss to start and /proc to be read there.
	nstest.NewNamespace(t).Do(func() {
		for _, family := range nstest.Families {
			nstest.States(t, family)
		}
		nstest.Many(t, nstest.IPv4, 600, 400)
		nstest.Many(t, nstest.IPv6, 300, 200)
		c := dial(t)
		compareCounts(t, c, sockdiag.Query{}, nil, "tcp", "tcp6")
		compareCounts(t, c, sockdiag.Query{Family: sockdiag.IPv4}, []string{"-4"}, "tcp")
		compareCounts(t, c, sockdiag.Query{Family: sockdiag.IPv6}, []string{"-6"}, "tcp6")
	})
}

func compareCounts(t *testing.T, c *sockdiag.Client, q sockdiag.Query, ss []string, files ...string) {
	t.Helper()
	ours, err := c.Count(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	dumped, err := sockdiag.CountBy(c.Dump(t.Context(), q), func(s *sockdiag.Socket) tcpstate.State { return s.State })
	if err != nil {
		t.Fatal(err)
	}
	for s, n := range ours.All() {
		if dumped[s] != n {
			t.Errorf("%v: Count %d, Dump %d", s, n, dumped[s])
		}
	}
	if ours[tcpstate.BoundInactive] == 0 && hasBoundInactive(t) {
		t.Error("no bound-only socket counted")
	}
	// ss and /proc leave bound-only sockets out: those are in neither the
	// table of listeners nor that of connections.
	ours[tcpstate.BoundInactive] = 0
	if states := len(countStates(ours)); states < 10 {
		t.Fatalf("only %d states: %v", states, ours)
	}
	if diff := cmp.Diff(countOfProc(t, files...), ours); diff != "" {
		t.Errorf("/proc/net (-), we (+):\n%s", diff)
	}
	if diff := cmp.Diff(countOfSS(t, ss...), ours); diff != "" {
		t.Errorf("ss (-), we (+):\n%s", diff)
	}
}

func countStates(c tcpstate.Counts) (states []tcpstate.State) {
	for s := range c.All() {
		states = append(states, s)
	}
	return states
}

// countOfProc counts by the "st" column, which is the kernel's number.
func countOfProc(t *testing.T, files ...string) (counts tcpstate.Counts) {
	t.Helper()
	numbers := map[string]int{"01": 1, "02": 2, "03": 3, "04": 4, "05": 5, "06": 6, "07": 7, "08": 8, "09": 9, "0A": 10, "0B": 11, "0C": 3}
	for _, name := range files {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Scan() // the header
		for lines.Scan() {
			st := strings.Fields(lines.Text())[3]
			n, ok := numbers[st]
			if !ok {
				t.Fatalf("state %q in %s", st, name)
			}
			counts[n]++
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return counts
}

func countOfSS(t *testing.T, options ...string) (counts tcpstate.Counts) {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	out, err := exec.Command(path, append([]string{"-Htan"}, options...)...).Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	numbers := map[string]int{"ESTAB": 1, "SYN-SENT": 2, "SYN-RECV": 3, "FIN-WAIT-1": 4, "FIN-WAIT-2": 5, "TIME-WAIT": 6,
		"UNCONN": 7, "CLOSE-WAIT": 8, "LAST-ACK": 9, "LISTEN": 10, "CLOSING": 11}
	for line := range strings.Lines(string(out)) {
		st := strings.Fields(line)[0]
		n, ok := numbers[st]
		if !ok {
			t.Fatalf("ss says state %q", st)
		}
		counts[n]++
	}
	return counts
}

// The tcp_info of a dump is that of getsockopt, field by field, on sockets in
// every state that has one; but for the clocks, which run on in between.
func TestTCPInfoIsThatOfGetsockopt(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		made := nstest.States(t, family)
		c := dial(t)
		rows := collect(t, c, sockdiag.Query{Attrs: sockdiag.AttrTCPInfo})
		compared := 0
		for _, m := range made {
			s, ok := find(rows, m)
			if !ok || m.FD < 0 || m.State == tcpstate.BoundInactive {
				continue
			}
			var b [512]byte
			n, err := sockopt.Get(uintptr(m.FD), unix.IPPROTO_TCP, unix.TCP_INFO, b[:])
			if err != nil {
				t.Fatal(err)
			}
			var want sockdiag.TCPInfo
			if err := want.UnmarshalBinary(b[:n]); err != nil {
				t.Fatal(err)
			}
			got := s.TCPInfo
			for f := range sockdiag.Fields() {
				if got.Has(f) != want.Has(f) {
					t.Errorf("%s: Has(%v) is %v in the dump", m.Name, f, got.Has(f))
				}
			}
			stopClocks(&got)
			stopClocks(&want)
			if m.Timer == uint8(sockdiag.TimerProbe) {
				// A probe may have gone out in between.
				for _, i := range []*sockdiag.TCPInfo{&got, &want} {
					i.Backoff, i.Probes, i.SegsOut, i.SegsIn = 0, 0, 0, 0
				}
			}
			if m.Name == "established-full" || strings.HasPrefix(m.Name, "peer-of-") {
				// They answer such probes.
				for _, i := range []*sockdiag.TCPInfo{&got, &want} {
					i.SegsOut, i.SegsIn = 0, 0
				}
			}
			if m.State == tcpstate.SynSent {
				for _, i := range []*sockdiag.TCPInfo{&got, &want} {
					i.Retransmits, i.Backoff, i.RTO, i.Lost, i.Retrans, i.TotalRetrans = 0, 0, 0, 0, 0, 0
					i.SegsOut, i.TotalRTO, i.TotalRTOTime, i.CAState, i.SndCwnd, i.SndSSThresh = 0, 0, 0, 0, 0, 0
				}
			}
			if got != want {
				t.Errorf("%s: dump %+v\ngetsockopt %+v", m.Name, got, want)
			}
			compared++
		}
		if compared < 15 {
			t.Errorf("%v: only %d sockets compared", family, compared)
		}
	}
}

func stopClocks(i *sockdiag.TCPInfo) {
	i.LastDataSent, i.LastDataRecv, i.LastAckRecv, i.BusyTime, i.RwndLimited = 0, 0, 0, 0, 0
}
