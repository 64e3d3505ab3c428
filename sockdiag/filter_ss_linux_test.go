package sockdiag

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Random expressions select what ss(8) selects, in a namespace with some hundred
// sockets, and Match agrees. Left out are autobound, to which ss adds a condition
// on the port, and what the documentation of ParseFilter says ss does otherwise.
func TestFilterIsThatOfSS(t *testing.T) {
	nstest.RequireNamespace(t)
	ss, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	cgroup := ownCgroupFolder(t)
	nstest.NewNamespace(t).Do(func() {
		makeVariety(t)
		names := hereNames(t)
		// ss does not ask for bound-only sockets.
		states := tcpstate.All.Without(tcpstate.BoundInactive)
		rows, err := dumpProgram(t, 0, states, nil)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, s := range rows {
			count[fmt.Sprint("family ", s.Family)]++
			count[fmt.Sprint("state ", s.State)]++
			count[fmt.Sprint("device ", s.Interface)]++
			count[fmt.Sprintf("mark %#x", s.Mark)]++
			if s.Local.Addr().Is4In6() {
				count["mapped"]++
			}
		}
		t.Logf("%d sockets: %v", len(rows), count)

		n := 2000
		if testing.Short() {
			n = 100 // each starts a process, which under emulation takes its time
		}
		g := &ssGenerator{rng: rand.New(rand.NewPCG(5, 6)), cgroup: cgroup, kinds: map[string]int{}}
		_, err = os.Stat("/etc/services") // without which ss knows none
		g.services = err == nil
		some := 0
		for range n {
			text := g.expression(3)
			f := mustParse(t, text)
			var ours, theirs []uint64
			// Sockets leave TIME_WAIT, perhaps between the one question and the other.
			for range 3 {
				if rows, err = dumpProgram(t, 0, states, nil); err != nil {
					t.Fatal(err)
				}
				ours = cookiesOf(selectsByKernel(t, f, states, rows, names))
				theirs = cookiesOfSS(t, ss, text)
				if slices.Equal(ours, theirs) {
					break
				}
			}
			if !slices.Equal(ours, theirs) {
				t.Errorf("%s, here %s: ss selects %d sockets, here it is %d", text, f, len(theirs), len(ours))
				for _, s := range rows {
					if slices.Contains(ours, s.Cookie) != slices.Contains(theirs, s.Cookie) {
						t.Logf("  %v %v %v, device %d, mark %#x: ss selects it: %v", s.State, s.Local, s.Remote, s.Interface, s.Mark, slices.Contains(theirs, s.Cookie))
					}
				}
			}
			if len(ours) > 0 && len(ours) < len(rows) {
				some++
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%d expressions, of which %d select some sockets and not all; conditions: %v", n, some, g.kinds)
		if some < n/2 {
			t.Errorf("only %d of %d expressions select some sockets and not all", some, n)
		}
		for _, kind := range ssKinds {
			if g.kinds[kind] < n/20 {
				t.Errorf("only %d conditions of kind %s", g.kinds[kind], kind)
			}
		}
	})
}

func cookiesOf(rows []Socket) (cookies []uint64) {
	for _, s := range rows {
		cookies = append(cookies, s.Cookie)
	}
	slices.Sort(cookies)
	return cookies
}

func cookiesOfSS(t *testing.T, ss, expression string) (cookies []uint64) {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(ss, append([]string{"-Htane"}, strings.Fields(expression)...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("ss %s: %v %.200s", expression, err, errs.String())
	}
	for line := range strings.Lines(string(out)) {
		_, behind, ok := strings.Cut(line, " sk:")
		if !ok {
			t.Fatalf("ss %s: %q has no sk:", expression, line)
		}
		c, err := strconv.ParseUint(strings.Fields(behind)[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, c)
	}
	slices.Sort(cookies)
	return cookies
}

// ownCgroupFolder returns the folder of the control group of this process.
func ownCgroupFolder(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(cgroupRoot(t), path)
		}
	}
	nstest.Skip(t, "control groups, version 2")
	return ""
}

// cgroupRoot returns where the tree of control groups is mounted, which it may
// have to be for the test.
func cgroupRoot(t *testing.T) string {
	t.Helper()
	roots, err := cgroupRoots()
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) > 0 {
		return roots[0]
	}
	root := t.TempDir()
	if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
		nstest.Skip(t, "a mounted tree of control groups, or the right to mount it: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	return root
}

// makeVariety makes some hundred sockets: listeners of all families on several
// addresses and ports, each with connections in a number of states, some of them
// with marks and bound to lo.
func makeVariety(t *testing.T) {
	t.Helper()
	m := newSocketMaker(t)
	m.addresses("10.1.2.3/32", "10.200.0.1/32", "fd00:1::1/128", "2001:db8::5/128")
	v4 := []string{"127.0.0.1", "127.1.2.3", "10.1.2.3", "10.200.0.1"}
	v6 := []string{"::1", "fd00:1::1", "2001:db8::5"}
	var mapped []string
	for _, a := range v4 {
		mapped = append(mapped, "::ffff:"+a)
	}
	ports := []uint16{22, 80, 443, 8080}
	marks := []int{0, 1, 0, 0x10, 0x11, 0, 0xff}
	n := 0 // of everything, for variety
	for kind, addrs := range [][]string{v4, v6, mapped} {
		for _, a := range addrs {
			for _, port := range ports {
				n++
				if kind == 2 {
					port++ // the others are taken
				}
				local := netip.AddrPortFrom(netip.MustParseAddr(a), port)
				o := socketOptions{mark: marks[n%len(marks)], defers: n%5 == 0}
				if n%3 == 0 {
					o.device = "lo"
				}
				l := m.listen(local, o)
				for range 3 {
					n++
					from := netip.AddrPortFrom(netip.MustParseAddr(addrs[n%len(addrs)]), uint16(10000+n))
					co := socketOptions{mark: marks[n%len(marks)]}
					if n%7 == 0 {
						co.device = "lo"
					}
					if o.defers {
						m.connect(from, co, -1, local)
						continue
					}
					c, s := m.connect(from, co, l, local)
					switch n % 7 {
					case 0, 4:
						m.timeWait(c, s)
					case 1, 2, 3:
						m.shut(c, s, tcpstate.FinWait2, tcpstate.CloseWait)
						if n%2 == 0 {
							m.close(c)
						}
					}
				}
			}
		}
	}
	m.listen(netip.MustParseAddrPort("0.0.0.0:1024"), socketOptions{})
	m.listen(netip.MustParseAddrPort("[::]:1025"), socketOptions{mark: 1})
}

// ssGenerator makes expressions that ss and ParseFilter understand: words with
// white space between them.
type ssGenerator struct {
	rng      *rand.Rand
	cgroup   string
	services bool // use names of ports, too
	kinds    map[string]int
}

var ssKinds = []string{"src", "dst", "src with port", "dst with port", "sport", "dport", "dev", "fwmark", "cgroup"}

func (g *ssGenerator) pick(of ...string) string { return of[g.rng.IntN(len(of))] }

// expression makes parts with and, or and nothing between them, nested to a depth.
func (g *ssGenerator) expression(depth int) string {
	text := g.part(depth)
	for range g.rng.IntN(3) {
		text += " " + g.pick("and", "&", "&&", "or", "or", "|", "||", "") + " " + g.part(depth)
	}
	return text
}

func (g *ssGenerator) part(depth int) string {
	not := ""
	for range max(0, g.rng.IntN(6)-3) {
		not += g.pick("not ", "! ")
	}
	if depth > 0 && g.rng.IntN(3) == 0 {
		return not + "( " + g.expression(depth-1) + " )"
	}
	return not + g.condition()
}

func (g *ssGenerator) condition() string {
	kind := g.pick(ssKinds...)
	g.kinds[kind]++
	equals := g.pick("", "", "=", "==", "eq")
	unequal := g.pick(equals, "!=", "ne", "neq")
	hosts := []string{
		"127.0.0.1", "127.0.0.0/8", "127/8", "127.1.2.3", "127.1.0.0/16", "127.0.0.0/255.0.0.0", "10/8", "10.0.0.0/8", "10.1.2.3/32", "10.200/16", "012.1.2.3", "10.0.0.0/9",
		"[::1]", "::1/128", "[::1/128]", "[fd00::/8]", "fd00::/8", "[fd00:1::1]", "[2001:db8::/32]", "2001:db8::5/128", "2001:db8::/33",
		"[::ffff:127.0.0.1]", "::ffff:10.0.0.0/104", "[::ffff:10.1.2.3]", "::ffff:0:0/96", "[::ffff:127.0.0.0/104]",
	}
	ports := []string{"22", "80", "0x50", "443", "0673", "8080", "81", "8081", "10020", "10100", "10150", "0", "1024"}
	if g.services {
		ports = append(ports, "ssh", "http", "https")
	}
	switch kind {
	case "src", "dst":
		return kind + " " + equals + " " + g.pick(hosts...)
	case "src with port", "dst with port":
		host := g.pick(append(hosts, "", "*", "any")...)
		return kind[:3] + " " + equals + " " + host + ":" + g.pick(append(ports, "*")...)
	case "sport", "dport":
		op := g.pick(unequal, "<", ">", "<=", ">=", "lt", "gt", "le", "ge", "leq", "geq")
		return kind + " " + op + " " + g.pick("", ":") + g.pick(ports...)
	case "dev":
		return "dev " + unequal + " " + g.pick("lo", "lo", "1", "0", "0x1")
	case "fwmark":
		return "fwmark " + unequal + " " + g.pick("0", "1", "16", "0x10", "020", "0x11", "0x10/0xf0", "1/1", "0x1/0x3", "0/1", "0xff", "0x100/0xff")
	}
	return "cgroup " + unequal + " " + g.cgroup
}
