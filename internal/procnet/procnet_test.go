package procnet_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/procnet"
)

// recorded is a /proc/net with the given files.
func recorded(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func openFS(t testing.TB, fsys fs.FS, files ...procnet.File) *procnet.Reader {
	t.Helper()
	r, err := procnet.OpenFS(fsys, files...)
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

// The shapes of the five files, as the kernel's net/ipv4/proc.c and
// net/ipv6/proc.c print them, with columns of no kernel among them.
func TestCounters(t *testing.T) {
	r := openFS(t, recorded(map[string]string{
		"netstat": "TcpExt: TW ListenOverflows FromTheFuture\nTcpExt: 7 0 12\n" +
			"IpExt: InOctets \nIpExt: 18446744073709551615 \nNewExt: A\nNewExt: 1\nEmptyExt:\nEmptyExt:\n",
		"snmp":      "Ip: Forwarding\nIp: 2\nTcp: RtoMax MaxConn NewColumn CurrEstab\nTcp: 120000 -1 9 4\nTcpNew: CurrEstab\nTcpNew: 3\n",
		"snmp6":     "Ip6InReceives                   \t5\nIcmp6OutType135\t 6\n",
		"sockstat":  "sockets: used 14\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 5 new 6\nFRAG: inuse 0 memory 0\n",
		"sockstat6": "TCP6: inuse 8\n",
	}))
	want := procnet.Counters{
		"TcpExt.TW": 7, "TcpExt.ListenOverflows": 0, "TcpExt.FromTheFuture": 12,
		"IpExt.InOctets": -1, "NewExt.A": 1, // -1: what a kernel of 64 bits prints of it
		"Ip.Forwarding": 2, "Tcp.RtoMax": 120000, "Tcp.MaxConn": -1, "Tcp.NewColumn": 9, "Tcp.CurrEstab": 4, "TcpNew.CurrEstab": 3,
		"Ip6InReceives": 5, "Icmp6OutType135": 6,
		"sockstat.sockets.used": 14,
		"sockstat.TCP.inuse":    1, "sockstat.TCP.orphan": 2, "sockstat.TCP.tw": 3, "sockstat.TCP.alloc": 4, "sockstat.TCP.mem": 5, "sockstat.TCP.new": 6,
		"sockstat.FRAG.inuse": 0, "sockstat.FRAG.memory": 0,
		"sockstat6.TCP6.inuse": 8,
	}
	got, err := r.Counters()
	if err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	estab, err := r.CurrEstab()
	if estab != 4 || err != nil {
		t.Errorf("CurrEstab %d, %v", estab, err)
	}
	tcp, err := r.TCPSockets()
	if tcp != (procnet.TCPSockets{InUse: 1, TimeWait: 3, Allocated: 4}) || err != nil {
		t.Errorf("TCPSockets %+v, %v", tcp, err)
	}
	tcp6, err := r.TCP6InUse()
	if tcp6 != 8 || err != nil {
		t.Errorf("TCP6InUse %d, %v", tcp6, err)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "4294967295": math.MaxUint32, "9223372036854775807": math.MaxInt64,
		"9223372036854775808": math.MinInt64, "18446744073709551615": -1, "-9223372036854775808": math.MinInt64,
	} {
		r := openFS(t, recorded(map[string]string{"snmp": "Tcp: CurrEstab\nTcp: " + text + "\n"}))
		if got, err := r.CurrEstab(); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}

// A line that makes no sense is named, and what stands above it is kept.
func TestMalformed(t *testing.T) {
	for name, c := range map[string]struct {
		file procnet.File
		text string
		line int
		bad  string
		want procnet.Counters
	}{
		"no colon":              {procnet.SNMP, "Tcp CurrEstab\nTcp 1\n", 1, "Tcp CurrEstab", nil},
		"no section":            {procnet.SNMP, ": CurrEstab\n: 1\n", 1, ": CurrEstab", nil},
		"empty line":            {procnet.SNMP, "Tcp: A\nTcp: 1\n\n", 3, "", procnet.Counters{"Tcp.A": 1}},
		"names without values":  {procnet.SNMP, "Tcp: A\nTcp: 1\nUdp: A\n", 4, "", procnet.Counters{"Tcp.A": 1}},
		"values of another":     {procnet.SNMP, "Tcp: A\nUdp: 1\n", 2, "Udp: 1", nil},
		"too few values":        {procnet.SNMP, "Tcp: A B\nTcp: 1\n", 2, "Tcp: 1", procnet.Counters{"Tcp.A": 1}},
		"too many values":       {procnet.Netstat, "TcpExt: A\nTcpExt: 1 2\n", 2, "TcpExt: 1 2", procnet.Counters{"TcpExt.A": 1}},
		"no number":             {procnet.Netstat, "TcpExt: A B\nTcpExt: 1 x\n", 2, "x", procnet.Counters{"TcpExt.A": 1}},
		"a fraction":            {procnet.SNMP, "Tcp: A\nTcp: 1.5\n", 2, "1.5", nil},
		"above 64 bits":         {procnet.SNMP, "Tcp: A\nTcp: 18446744073709551616\n", 2, "18446744073709551616", nil},
		"below 64 bits":         {procnet.SNMP, "Tcp: A\nTcp: -9223372036854775809\n", 2, "-9223372036854775809", nil},
		"sockstat, no value":    {procnet.Sockstat, "sockets: used 1\nTCP: inuse 2 tw\n", 2, "TCP: inuse 2 tw", procnet.Counters{"sockstat.sockets.used": 1, "sockstat.TCP.inuse": 2}},
		"sockstat, no colon":    {procnet.Sockstat, "TCP inuse 1\n", 1, "TCP inuse 1", nil},
		"sockstat6, no number":  {procnet.Sockstat6, "TCP6: inuse many\n", 1, "many", nil},
		"snmp6, no value":       {procnet.SNMP6, "A 1\nB\n", 2, "B", procnet.Counters{"A": 1}},
		"snmp6, too many words": {procnet.SNMP6, "A 1 2\n", 1, "A 1 2", nil},
		"snmp6, no number":      {procnet.SNMP6, "A\tB\n", 1, "B", nil},
		"tracking, too few":     {procnet.Conntrack, "entries drop\n1 2\n3\n", 3, "3", nil},
		"tracking, no number":   {procnet.Conntrack, "entries drop\n1 -2\n", 2, "-2", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := openFS(t, recorded(map[string]string{c.file.String(): c.text}), c.file)
			got, err := r.Counters()
			if c.want == nil {
				c.want = procnet.Counters{}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			var bad *procnet.ParseError
			if !errors.As(err, &bad) || bad.File != c.file || bad.Line != c.line || bad.Text != c.bad || bad.Err == nil {
				t.Fatalf("%v is not about line %d and %q", err, c.line, c.bad)
			}
			if at := fmt.Sprintf("/proc/net/%v:%d: ", c.file, c.line); !strings.HasPrefix(err.Error(), at) {
				t.Errorf("%q does not say %q", err, at)
			}
		})
	}
}

// What is needed and not there is an error of its own, and no number.
func TestAbsent(t *testing.T) {
	fsys := recorded(map[string]string{
		"snmp":     "Tcp: ActiveOpens\nTcp: 1\nUdp: CurrEstab\nUdp: 1\n",
		"sockstat": "TCP: inuse 4\nUDP: tw 3\n",
	})
	r := openFS(t, fsys)
	if v, err := r.CurrEstab(); v != 0 || !errors.Is(err, procnet.ErrAbsent) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "CurrEstab") {
		t.Errorf("no column: %d, %v", v, err)
	}
	if v, err := r.TCPSockets(); v != (procnet.TCPSockets{}) || !errors.Is(err, procnet.ErrAbsent) || !strings.Contains(err.Error(), "tw") {
		t.Errorf("one of two columns: %+v, %v", v, err)
	}
	if v, err := r.TCP6InUse(); v != 0 || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "sockstat6") {
		t.Errorf("no file: %d, %v", v, err)
	}
	got, err := r.Counters()
	if err != nil {
		t.Errorf("files that do not exist: %v", err)
	}
	if _, ok := got["sockstat6.TCP6.inuse"]; ok || len(got) != 4 {
		t.Errorf("counters of what is not there: %v", got)
	}

	r = openFS(t, fsys, procnet.SNMP)
	if _, err := r.TCPSockets(); !errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was not asked for: %v", err)
	}
	if got, err := r.Counters(); err != nil || len(got) != 2 {
		t.Errorf("of snmp alone: %v, %v", got, err)
	}
}

func TestOpenFSErrors(t *testing.T) {
	if _, err := procnet.OpenFS(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /proc/net: %v", err)
	}
	fsys := recorded(map[string]string{"snmp": "Tcp: A\nTcp: 1\n"})
	if _, err := procnet.OpenFS(fsys, procnet.Sockstat6); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "sockstat6") {
		t.Errorf("none of the files: %v", err)
	}
	if _, err := procnet.OpenFS(fsys, procnet.SNMP, 200); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "File(200)") {
		t.Errorf("File(200): %v", err)
	}
	if _, err := procnet.OpenFS(fsys, procnet.SNMP, procnet.SNMP); err != nil {
		t.Errorf("named twice: %v", err)
	}
	denied := openFunc(func(name string) (fs.File, error) {
		if name == "sockstat" {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
		}
		return fsys.Open("snmp")
	})
	if _, err := procnet.OpenFS(denied); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("one that may not be read: %v", err)
	}
	plain := openFunc(func(string) (fs.File, error) {
		f, err := fsys.Open("snmp")
		return struct{ fs.File }{f}, err
	})
	if _, err := procnet.OpenFS(plain); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("files without ReadAt: %v", err)
	}
}

type openFunc func(name string) (fs.File, error)

func (f openFunc) Open(name string) (fs.File, error) { return f(name) }

func TestClose(t *testing.T) {
	r, err := procnet.OpenFS(recorded(map[string]string{"snmp": "Tcp: CurrEstab\nTcp: 1\n"}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.CurrEstab(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("CurrEstab after Close: %v", err)
	}
	if got, err := r.Counters(); !errors.Is(err, fs.ErrClosed) || len(got) != 0 {
		t.Errorf("Counters after Close: %v, %v", got, err)
	}
}

// changing is a file that is another text each time it is read from the start, as
// those of /proc are.
type changing struct {
	fs.File
	mu    sync.Mutex
	texts []string
	now   string
	reads int
}

func (c *changing) ReadAt(b []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if off == 0 {
		c.now = c.texts[min(c.reads, len(c.texts)-1)]
		c.reads++
	}
	return strings.NewReader(c.now).ReadAt(b, off)
}

func openChanging(t *testing.T, texts ...string) (*procnet.Reader, *changing) {
	snmp := recorded(map[string]string{"snmp": ""})
	f, err := snmp.Open("snmp")
	if err != nil {
		t.Fatal(err)
	}
	c := &changing{File: f, texts: texts}
	return openFS(t, openFunc(func(string) (fs.File, error) { return c, nil }), procnet.SNMP), c
}

// Each call reads anew, and a text that is longer than the buffer comes from one
// reading, not from two.
func TestReadAgain(t *testing.T) {
	long := func(value string) string {
		return "Ip:" + strings.Repeat(" Name", 4000) + "\nIp:" + strings.Repeat(" 1", 4000) + "\nTcp: CurrEstab\nTcp: " + value + "\n"
	}
	r, c := openChanging(t, "Tcp: CurrEstab\nTcp: 1\n", "Tcp: CurrEstab\nTcp: 2\n", long("30"), long("40"), long("50"), long("60"), "")
	for _, want := range []int64{1, 2} {
		if got, err := r.CurrEstab(); got != want || err != nil {
			t.Errorf("%d, %v, want %d", got, err, want)
		}
	}
	got, err := r.CurrEstab()
	if err != nil || got != int64(10*c.reads) || c.reads < 4 {
		t.Errorf("after %d readings: %d, %v", c.reads, got, err)
	}

	r, _ = openChanging(t, strings.Repeat("Ip: A\nIp: 1\n", 1<<20))
	var bad *procnet.ParseError
	if _, err := r.CurrEstab(); !errors.As(err, &bad) || !strings.Contains(err.Error(), "longer") {
		t.Errorf("a text without end: %v", err)
	}
}

type broken struct{ fs.File }

func (broken) ReadAt(b []byte, _ int64) (int, error) {
	return copy(b, "Tcp: CurrEstab\nTcp: 1\n"), fs.ErrPermission
}

func TestReadError(t *testing.T) {
	f, err := recorded(map[string]string{"snmp": ""}).Open("snmp")
	if err != nil {
		t.Fatal(err)
	}
	r := openFS(t, openFunc(func(string) (fs.File, error) { return broken{f}, nil }), procnet.SNMP)
	if v, err := r.CurrEstab(); v != 0 || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("CurrEstab of a file that fails: %d, %v", v, err)
	}
	if got, err := r.Counters(); len(got) != 0 || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Counters of a file that fails: %v, %v", got, err)
	}
}

// FuzzCounters: what is printed as the kernel does it is read back, and whatever
// else a file says is read the same by name as in whole.
func FuzzCounters(f *testing.F) {
	f.Add("Tcp: CurrEstab MaxConn\nTcp: 3 -1\n", "TCP: inuse 1 tw 2 alloc 4\n", int64(5), uint64(7))
	f.Add("Tcp: A\nTcp: 1\nTcp: CurrEstab\nTcp: 2\n", "TCP: alloc 5 tw 1 inuse 2\nTCP: inuse 3\n", int64(-1), uint64(math.MaxUint64))
	f.Add("Tcp:\nTcp:\n\n", "TCP:inuse 1\n", int64(0), uint64(1<<63))
	f.Add("Tcp: CurrEstab\nTcp: 18446744073709551616\n", "TCP: inuse -\n", int64(math.MinInt64), uint64(0))
	f.Fuzz(func(t *testing.T, snmp, sockstat string, signed int64, unsigned uint64) {
		r := openFS(t, recorded(map[string]string{"snmp": snmp, "sockstat": sockstat}))
		all, err := r.Counters()
		for name := range all {
			if strings.ContainsAny(name, " \t\n") || !strings.Contains(name, ".") {
				t.Errorf("counter %q", name)
			}
		}
		if err == nil {
			estab, err := r.CurrEstab()
			if want, ok := all["Tcp.CurrEstab"]; estab != want || ok != (err == nil) {
				t.Errorf("CurrEstab %d, %v; of all %d, %v", estab, err, want, ok)
			}
			tcp, err := r.TCPSockets()
			inUse, ok := all["sockstat.TCP.inuse"]
			tw, ok2 := all["sockstat.TCP.tw"]
			alloc, ok3 := all["sockstat.TCP.alloc"]
			want := procnet.TCPSockets{InUse: inUse, TimeWait: tw, Allocated: alloc}
			if complete := ok && ok2 && ok3; complete != (err == nil) || complete && tcp != want {
				t.Errorf("TCPSockets %+v, %v; of all %+v", tcp, err, want)
			}
		}

		text := fmt.Sprintf("Tcp: MaxConn CurrEstab\nTcp: %d %d\n", signed, unsigned)
		r = openFS(t, recorded(map[string]string{"snmp": text}))
		want := procnet.Counters{"Tcp.MaxConn": signed, "Tcp.CurrEstab": int64(unsigned)}
		if got, err := r.Counters(); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	})
}

// The processors' numbers are summed; the entries are not each one's.
func TestConntrack(t *testing.T) {
	r := openFS(t, recorded(map[string]string{"stat/nf_conntrack": "" +
		"entries  clashres found new drop early_drop\n" +
		"0000001a  00000000 00000000 00000000 0000000f 00000000\n" +
		"0000001a  00000000 00000002 00000000 ffffffff 00000001\n"}))
	want := procnet.Counters{
		"nf_conntrack.clashres": 0, "nf_conntrack.found": 2, "nf_conntrack.new": 0, "nf_conntrack.drop": 0xf + 0xffffffff, "nf_conntrack.early_drop": 1,
	}
	if got, err := r.Counters(); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFileString(t *testing.T) {
	var names []string
	for f := range procnet.File(7) {
		names = append(names, f.String())
	}
	if want := []string{"netstat", "snmp", "snmp6", "sockstat", "sockstat6", "stat/nf_conntrack", "File(6)"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
