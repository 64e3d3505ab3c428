package procnet_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/seed16c515c6/timewait/internal/netns"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/procnet"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// open opens the files of the test's own namespace.
func open(t testing.TB, files ...procnet.File) *procnet.Reader {
	t.Helper()
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	return openIn(t, int(ns.Fd()), files...)
}

func openIn(t testing.TB, ns int, files ...procnet.File) *procnet.Reader {
	t.Helper()
	r, err := procnet.Open(ns, files...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func counters(t testing.TB, r *procnet.Reader) procnet.Counters {
	t.Helper()
	c, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tool runs a program of iproute2 in the namespace of the tests.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		nstest.Skip(t, "%s of iproute2", name)
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		t.Fatal(name, err)
	}
	return out
}

// Every counter of this kernel, against nstat.
func TestNstat(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.TimeWait(t, nstest.IPv4, 3)
	r := open(t, procnet.Netstat, procnet.SNMP, procnet.SNMP6)
	before := counters(t, r)
	var reply struct {
		Kernel map[string]json.Number
	}
	if err := json.Unmarshal(tool(t, "nstat", "--json", "-asz"), &reply); err != nil {
		t.Fatal(err)
	}
	after := counters(t, r)

	matched := 0
	for name, value := range before {
		// nstat has "TcpExtTW", and nothing between the words. What it knows to be
		// settings or gauges it leaves out.
		flat := strings.Replace(name, ".", "", 1)
		want, ok := reply.Kernel[flat]
		if !ok {
			switch flat {
			case "IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn", "TcpCurrEstab":
			default:
				if _, still := after[name]; still {
					t.Errorf("%s is %d, and nstat has no %s", name, value, flat)
				}
			}
			continue
		}
		delete(reply.Kernel, flat)
		matched++
		// It may print numbers with a fraction, and what a quiet namespace has is small.
		n, err := want.Float64()
		if err != nil || n < float64(min(value, after[name])) || n > float64(max(value, after[name])) {
			t.Errorf("%s is %d, then %d; nstat says %v", name, value, after[name], want)
		}
	}
	for name, value := range reply.Kernel {
		if !strings.HasPrefix(name, "Sctp") { // of /proc/net/sctp/snmp
			t.Errorf("nstat has %s = %v", name, value)
		}
	}
	if matched < 150 {
		t.Errorf("only %d counters", matched)
	}
	if before["Tcp.ActiveOpens"] < 3 || before["Tcp.MaxConn"] != -1 {
		t.Errorf("Tcp.ActiveOpens %d, Tcp.MaxConn %d", before["Tcp.ActiveOpens"], before["Tcp.MaxConn"])
	}
}

// What the fast methods say of the states that tests make, by the count of what
// was made, and by ss.
func TestSockets(t *testing.T) {
	nstest.RequireNamespace(t)
	r := open(t)
	type totals struct {
		estab, inUse4, inUse6, tw int64
	}
	read := func() totals {
		t.Helper()
		estab, err := r.CurrEstab()
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := r.TCPSockets()
		if err != nil {
			t.Fatal(err)
		}
		tcp6, err := r.TCP6InUse()
		if err != nil {
			t.Fatal(err)
		}
		return totals{estab, tcp.InUse, tcp6, tcp.TimeWait}
	}
	before := read()
	var made []nstest.Made
	for _, family := range nstest.Families {
		made = append(made, nstest.Many(t, family, 20, 10)...)
	}
	want := before
	for _, m := range made {
		switch {
		case m.State == tcpstate.TimeWait:
			want.tw++
			continue
		case m.Family == nstest.IPv4.Number():
			want.inUse4++
		default:
			want.inUse6++
		}
		want.estab++
	}
	if got := read(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if want.estab-before.estab != 3*40 || want.tw-before.tw != 3*10 {
		t.Fatalf("made %+v on top of %+v", want, before)
	}

	// "TCP:   123 (estab 120, closed 30, orphaned 0, timewait 30)", where it reads
	// the same files, but for sums over them.
	out := string(tool(t, "ss", "-s"))
	_, line, _ := strings.Cut(out, "TCP:")
	var all, estab, closed, orphaned, timeWait int64
	if _, err := fmt.Sscanf(line, " %d (estab %d, closed %d, orphaned %d, timewait %d", &all, &estab, &closed, &orphaned, &timeWait); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if got := read(); got.estab != estab || got.tw != timeWait {
		t.Errorf("%+v, and ss -s has %q", got, line)
	}
}

// A Reader keeps to the namespace that it was opened in, whatever thread opens
// and reads it.
func TestNamespaces(t *testing.T) {
	nstest.RequireNamespace(t)
	other := nstest.NewNamespace(t)
	var there *procnet.Reader
	here := open(t, procnet.Sockstat)
	entered := openIn(t, other.FD(), procnet.Sockstat)
	other.Do(func() {
		// On a thread that is there already.
		there = openIn(t, other.FD(), procnet.Sockstat)
		nstest.TimeWait(t, nstest.IPv4, 5)
	})
	tw := func(r *procnet.Reader) int64 {
		t.Helper()
		tcp, err := r.TCPSockets()
		if err != nil {
			t.Fatal(err)
		}
		return tcp.TimeWait
	}
	atHome := tw(here)
	check := func() {
		if a, b := tw(there), tw(entered); a != 5 || b != 5 {
			t.Errorf("%d and %d in TIME_WAIT, want 5", a, b)
		}
		if got := tw(here); got != atHome {
			t.Errorf("%d at home, there were %d", got, atHome)
		}
	}
	check()
	other.Do(check)
}

func TestConcurrent(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.TimeWait(t, nstest.IPv4, 2)
	r := open(t)
	want, err := r.TCPSockets()
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 50 {
				got, err := r.TCPSockets()
				got.Allocated = want.Allocated // other namespaces' too
				if got != want || err != nil {
					t.Errorf("%+v, %v, want %+v", got, err, want)
				}
				if all, err := r.Counters(); all["sockstat.TCP.tw"] != want.TimeWait || err != nil {
					t.Errorf("Counters: %d, %v", all["sockstat.TCP.tw"], err)
				}
			}
		})
	}
	readers.Wait()
}

func TestWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.Unprivileged(t, func(t *testing.T, other int) {
		if got := counters(t, open(t)); len(got) < 150 {
			t.Errorf("%d counters", len(got))
		}
		if _, err := procnet.Open(other); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("another namespace: %v", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, fd := range []int{-1, 1 << 20, int(null.Fd())} {
		if r, err := procnet.Open(fd); err == nil || r != nil {
			t.Errorf("descriptor %d: %v, %v", fd, r, err)
		}
	}
}

func TestReadAllocs(t *testing.T) {
	r := open(t)
	for name, read := range map[string]func() error{
		"CurrEstab":  func() error { _, err := r.CurrEstab(); return err },
		"TCPSockets": func() error { _, err := r.TCPSockets(); return err },
		"TCP6InUse":  func() error { _, err := r.TCP6InUse(); return err },
	} {
		if err := read(); err != nil {
			t.Fatal(name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = read() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	r := open(b)
	b.Run("CurrEstab", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.CurrEstab(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("TCPSockets", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.TCPSockets(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Counters", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Counters(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
