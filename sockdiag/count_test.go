package sockdiag

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/procnet"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// modelSocket is a socket as the kernel has it, whatever it tells of it.
type modelSocket struct {
	family  Family
	state   tcpstate.State // of a mini-socket its substate; BoundInactive and NewSynRecv are what their bits select
	mini    bool
	request bool
	reset   bool // it was bound by number, and then connected, and keeps its ends
}

// full reports whether it is in the tables as a full socket, and so "inuse".
func (s modelSocket) full() bool {
	return !s.mini && !s.request && s.state != tcpstate.BoundInactive
}

// reported is the state that a dump is to count it in.
func (s modelSocket) reported() tcpstate.State {
	switch {
	case s.request:
		return tcpstate.SynRecv
	case s.reset:
		return tcpstate.Closed
	}
	return s.state
}

// selectedBy is the kernel's own rule.
func (s modelSocket) selectedBy(mask tcpstate.Set) bool {
	return mask.Has(s.state) || s.request && mask.Has(tcpstate.SynRecv)
}

// model is a namespace: a fake kernel that dumps it and files that count it.
type model struct {
	fakeKernel

	mu      sync.Mutex
	sockets []modelSocket

	exclusive bool          // CurrEstab leaves CLOSE_WAIT out, as before the middle of 2024
	expected  meaning       // of CurrEstab
	elsewhere int64         // sockets of other namespaces, and those in no table
	noIPv6    bool          // there is no sockstat6
	skew      func(*gauges) // what the files say instead, if it is set
	broken    error         // of all files
	noSNMP    error         // of that one
	atRead    func(nth int) // is called before sockstat is read
	reads     atomic.Int32
	closed    int
}

func newModel(sockets ...modelSocket) *model {
	m := &model{sockets: sockets, elsewhere: 1}
	m.answerTo = m.dump
	return m
}

func (m *model) dump(request []byte) []datagram {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := ne.Uint32(request[8:])
	typ := ne.Uint16(request[4:])
	family, mask := Family(0), requestedStates(request)
	if typ == uapi.SockDiagByFamily {
		family = Family(request[16])
	}
	var answer []datagram
	for i, s := range m.sockets {
		if family != 0 && family != s.family || !s.selectedBy(mask) {
			continue
		}
		msg := diagMessage(s.reported(), 1000, 2000, uint64(i+1))
		msg[0] = uint8(s.family)
		mark := attribute(uapi.InetDiagMark, []byte{1, 0, 0, 0})
		switch {
		case s.mini:
			msg[2] = uapi.TimerTimeWait
			msg = append(msg, mark...)
		case s.request:
			msg[2] = 1
			msg = append(msg, mark...)
		case s.state == tcpstate.BoundInactive:
			msg[1] = uint8(tcpstate.Closed)
			if !s.reset {
				msg[6], msg[7] = 0, 0
			}
			fallthrough
		default:
			msg = append(msg, attribute(uapi.InetDiagShutdown, []byte{0})...)
			msg = append(msg, mark...)
		}
		answer = append(answer, datagram{data: netlinkMessage(typ, 2, seq, msg)})
	}
	return append(answer, done(seq))
}

// gauges are what the kernel's files say.
func (m *model) gauges() (g gauges) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sockets {
		if s.full() {
			g.inUse++
		}
		if !s.mini && !s.request {
			g.allocated++
		}
		if s.mini {
			g.minis++
		}
		if s.state == tcpstate.Established || s.state == tcpstate.CloseWait && !m.exclusive {
			g.currEstab++
		}
	}
	g.allocated += m.elsewhere
	if m.skew != nil {
		m.skew(&g)
	}
	return g
}

func (m *model) CurrEstab() (int64, error) {
	return m.gauges().currEstab, errors.Join(m.broken, m.noSNMP)
}

func (m *model) TCPSockets() (procnet.TCPSockets, error) {
	nth := m.reads.Add(1)
	if m.atRead != nil {
		m.atRead(int(nth))
	}
	g := m.gauges()
	return procnet.TCPSockets{InUse: g.inUse - m.inUse6(), TimeWait: g.minis, Allocated: g.allocated}, m.broken
}

// inUse6 is how many there are of IPv6.
func (m *model) inUse6() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sockets {
		if s.full() && s.family == IPv6 {
			n++
		}
	}
	return n
}

func (m *model) TCP6InUse() (int64, error) {
	if m.noIPv6 {
		return 0, &fs.PathError{Op: "open", Path: "sockstat6", Err: fs.ErrNotExist}
	}
	return m.inUse6(), m.broken
}

func (m *model) Close() error {
	m.closed++
	return nil
}

// client returns a Client of the model, which from so many sockets on counts
// without dumping.
func (m *model) client(t *testing.T, crowd int64) *Client {
	t.Helper()
	c := m.fakeKernel.client(t)
	c.counting.crowd = crowd
	c.counting.expected = m.expected
	c.counting.open = func() (gaugeReader, error) { return m, nil }
	return c
}

// want is what a dump of the query counts.
func (m *model) want(q Query) (counts tcpstate.Counts, rows int) {
	for _, s := range m.sockets {
		if (q.Family == 0 || q.Family == s.family) && s.selectedBy(q.states()) {
			counts.Add(s.reported(), 1)
			rows++
		}
	}
	return counts, rows
}

func of(n int, s modelSocket) []modelSocket { return slices.Repeat([]modelSocket{s}, n) }

// randomSockets are some of most kinds, and of few kinds many.
func randomSockets(r *rand.Rand) (all []modelSocket) {
	states := []tcpstate.State{
		tcpstate.Established, tcpstate.SynSent, tcpstate.SynRecv, tcpstate.FinWait1, tcpstate.FinWait2,
		tcpstate.CloseWait, tcpstate.LastAck, tcpstate.Listen, tcpstate.Closing, tcpstate.BoundInactive,
	}
	var kinds []modelSocket
	for _, f := range []Family{IPv4, IPv6} {
		for _, s := range states {
			kinds = append(kinds, modelSocket{family: f, state: s})
		}
		kinds = append(kinds, modelSocket{family: f, state: tcpstate.TimeWait, mini: true},
			modelSocket{family: f, state: tcpstate.FinWait2, mini: true},
			modelSocket{family: f, state: tcpstate.NewSynRecv, request: true})
	}
	for _, k := range kinds {
		all = append(all, of(max(0, r.IntN(10)-4), k)...)
	}
	for range 2 {
		all = append(all, of(r.IntN(80), kinds[r.IntN(len(kinds))])...)
		f := []Family{IPv4, IPv6}[r.IntN(2)]
		all = append(all, of(r.IntN(80), modelSocket{family: f, state: []tcpstate.State{tcpstate.Established, tcpstate.CloseWait}[r.IntN(2)]})...)
	}
	return all
}

// run is what the last Count did.
func (c *Client) run() countRun {
	c.counting.mu.Lock()
	defer c.counting.mu.Unlock()
	return c.counting.last
}

// forget makes the next Count a first one, but for the open files.
func (c *Client) forget(l learned) {
	c.counting.mu.Lock()
	defer c.counting.mu.Unlock()
	c.counting.failed, c.counting.rest, c.counting.learned, c.counting.last = 0, 0, l, countRun{}
}

var crowds = tcpstate.SetOf(tcpstate.Established, tcpstate.TimeWait)

// Whatever there is and whatever is asked for, the result is that of a dump; and of
// everything it comes without the crowds' rows.
func TestCountOfModels(t *testing.T) {
	planned := map[string]int{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		sockets := randomSockets(r)
		m := newModel(sockets...)
		m.exclusive = r.IntN(2) == 0
		m.elsewhere = int64(r.IntN(2))
		bound := slices.ContainsFunc(sockets, func(s modelSocket) bool { return s.state == tcpstate.BoundInactive })
		c := m.client(t, 0)
		queries := []Query{{}, {Family: IPv4}, {Family: IPv6}}
		for range 8 {
			mask := tcpstate.Set(r.Uint32()) & (1<<(maxKnownState+1) - 2)
			queries = append(queries, Query{States: mask, Family: []Family{0, IPv4, IPv6}[r.IntN(3)]})
		}
		for _, s := range []tcpstate.State{tcpstate.Established, tcpstate.TimeWait, tcpstate.CloseWait} {
			queries = append(queries, Query{States: s.Set()})
		}
		for _, q := range queries {
			known := learned{closeWaits: r.IntN(2) == 0, meaning: inclusive}
			if m.exclusive {
				known.meaning = exclusive
			}
			c.forget(known)
			counts, err := c.Count(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			want, rows := m.want(q)
			run := c.run()
			if diff := cmp.Diff(want, counts); diff != "" {
				t.Errorf("seed %d, exclusive %v, %+v %+v: dumped (-), counted (+):\n%s", seed, m.exclusive, run, q, diff)
			}
			out := crowds & q.states()
			if q.Family != 0 {
				out = 0
			}
			if known.closeWaits && known.meaning == inclusive && q.Family == 0 && q.states().Has(tcpstate.Established) && q.states().Has(tcpstate.CloseWait) {
				out = out.Without(tcpstate.Established).With(tcpstate.CloseWait)
			}
			if q.states().Has(tcpstate.NewSynRecv) && !q.states().Has(tcpstate.SynRecv) {
				out = 0
			}
			if out != 0 && q.States == 0 && !bound && m.elsewhere == 0 {
				out = out.With(tcpstate.BoundInactive)
			}
			if q.States != 0 { // which may have every state of full sockets, or not
				run.out = run.out.Without(tcpstate.BoundInactive)
			}
			if run.out != out || run.doubt != noDoubt && run.doubt != outnumbered {
				t.Errorf("seed %d, %+v: %v left out, doubt %d, want %v", seed, q, run.out, run.doubt, out)
			}
			if run.doubt == outnumbered {
				planned["too many rows"]++
			} else if run.out != 0 {
				planned[run.out.String()]++
			}
			if q == (Query{}) {
				for s := range out.States() {
					rows -= int(want[s])
				}
				if run.rows != rows || run.doubt != noDoubt {
					t.Errorf("seed %d: %d rows, want %d; doubt %d", seed, run.rows, rows, run.doubt)
				}
			}
		}
	}
	for _, out := range []string{
		"ESTABLISHED,TIME_WAIT", "TIME_WAIT,CLOSE_WAIT", "TIME_WAIT", "ESTABLISHED", "CLOSE_WAIT", "too many rows",
		"ESTABLISHED,TIME_WAIT,BOUND_INACTIVE", "TIME_WAIT,CLOSE_WAIT,BOUND_INACTIVE",
	} {
		if planned[out] < 5 {
			t.Errorf("%s: %d times; all: %v", out, planned[out], planned)
		}
	}
}

var (
	estab4     = modelSocket{family: IPv4, state: tcpstate.Established}
	estab6     = modelSocket{family: IPv6, state: tcpstate.Established}
	closeWait4 = modelSocket{family: IPv4, state: tcpstate.CloseWait}
	closeWait6 = modelSocket{family: IPv6, state: tcpstate.CloseWait}
	timeWait4  = modelSocket{family: IPv4, state: tcpstate.TimeWait, mini: true}
	finMini4   = modelSocket{family: IPv4, state: tcpstate.FinWait2, mini: true}
	listen4    = modelSocket{family: IPv4, state: tcpstate.Listen}
)

// What is doubtful is dumped, and the result is what a dump says.
func TestCountDoubts(t *testing.T) {
	crowd := slices.Concat(of(1000, estab4), of(1000, estab6), of(30, closeWait4), of(800, timeWait4), of(20, finMini4), of(3, listen4))
	for _, tt := range []struct {
		name  string
		doubt doubt
		out   tcpstate.Set
		set   func(*model)
	}{
		{"none", noDoubt, crowds, func(*model) {}},
		{"CLOSE_WAIT excluded", untaught, crowds, func(m *model) { m.exclusive, m.expected = true, untold }},
		{"CLOSE_WAIT included", untaught, crowds, func(m *model) { m.expected = untold }},
		{"CLOSE_WAIT excluded, which is not expected", contradicted, crowds, func(m *model) { m.exclusive = true }},
		{"no CLOSE_WAIT", noDoubt, crowds, func(m *model) {
			m.expected = untold
			m.sockets = slices.DeleteFunc(m.sockets, func(s modelSocket) bool { return s.state == tcpstate.CloseWait })
		}},
		{"no IPv6", noDoubt, crowds, func(m *model) {
			m.noIPv6 = true
			m.sockets = slices.DeleteFunc(m.sockets, func(s modelSocket) bool { return s.family == IPv6 })
		}},
		{"no sockstat6, but IPv6", contradicted, crowds, func(m *model) { m.noIPv6 = true }},
		{"unreadable", noDoubt, 0, func(m *model) { m.broken = fs.ErrPermission }},
		{"absent columns", noDoubt, 0, func(m *model) { m.broken = procnet.ErrAbsent }},
		{"absent CurrEstab", noDoubt, 0, func(m *model) { m.noSNMP = procnet.ErrAbsent }},
		{"unreadable after the dump", unreadable, crowds, func(m *model) {
			m.atRead = func(nth int) {
				if nth == 2 {
					m.broken = fs.ErrClosed
				}
			}
		}},
		{"tw of none", noDoubt, crowds.Without(tcpstate.TimeWait), func(m *model) { m.skew = func(g *gauges) { g.minis = 0 } }},
		{"tw below zero", noDoubt, crowds.Without(tcpstate.TimeWait), func(m *model) { m.skew = func(g *gauges) { g.minis = -1 } }},
		{"fewer minis than in FIN_WAIT2", negative, crowds, func(m *model) {
			m.atRead = func(nth int) { m.skew = func(g *gauges) { g.minis = []int64{0, 800, 19}[nth] } }
		}},
		{"CurrEstab below zero", negative, crowds, func(m *model) { m.skew = func(g *gauges) { g.currEstab = -1 } }},
		{"nothing in use after the dump", contradicted, crowds, func(m *model) {
			m.atRead = func(nth int) {
				if nth == 2 {
					m.skew = func(g *gauges) { g.inUse = 0 }
				}
			}
		}},
		{"one more in CurrEstab", contradicted, crowds, func(m *model) { m.skew = func(g *gauges) { g.currEstab++ } }},
		{"one less in use", contradicted, crowds, func(m *model) { m.skew = func(g *gauges) { g.inUse-- } }},
		{"part of CLOSE_WAIT", contradicted, crowds, func(m *model) { m.skew = func(g *gauges) { g.currEstab -= 10 } }},
		{"much that moved", contradicted, crowds, func(m *model) {
			m.atRead = func(nth int) { m.skew = func(g *gauges) { g.currEstab += int64(100 * nth) } }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(slices.Clone(crowd)...)
			m.expected = inclusive
			tt.set(m)
			c := m.client(t, minCrowd)
			counts, err := c.Count(t.Context(), Query{})
			want, rows := m.want(Query{})
			if diff := cmp.Diff(want, counts); diff != "" || err != nil {
				t.Errorf("dumped (-), counted (+):\n%s%v", diff, err)
			}
			run := c.run()
			if run.doubt != tt.doubt || run.out != tt.out {
				t.Errorf("doubt %d, %v left out; want %d, %v", run.doubt, run.out, tt.doubt, tt.out)
			}
			kept := 0
			for s := range tt.out.States() {
				kept += int(want[s])
			}
			switch {
			case tt.out != 0 && tt.doubt == noDoubt:
				rows -= kept
			case tt.doubt != noDoubt:
				rows += rows - kept // first those of the plan
			}
			if run.rows != rows {
				t.Errorf("%d rows, want %d", run.rows, rows)
			}
		})
	}
}

// The table that holds what is merely bound is walked, unless every socket of the host
// is in one of the others.
func TestCountOfBound(t *testing.T) {
	crowd := slices.Concat(of(1000, estab4), of(700, closeWait6), of(800, timeWait4), of(20, finMini4), of(3, listen4))
	bound4 := modelSocket{family: IPv4, state: tcpstate.BoundInactive}
	with := crowds.With(tcpstate.BoundInactive)
	move := func(m *model, grow func(nth int)) {
		m.atRead = func(nth int) {
			m.mu.Lock()
			defer m.mu.Unlock()
			grow(nth)
		}
	}
	for _, tt := range []struct {
		name  string
		q     Query
		out   tcpstate.Set
		walks int // of the second table
		doubt doubt
		set   func(*model)
	}{
		{"none", Query{}, with, 0, noDoubt, func(*model) {}},
		{"some", Query{}, crowds, 1, noDoubt, func(m *model) { m.sockets = append(m.sockets, of(5, bound4)...) }},
		{"sockets elsewhere", Query{}, crowds, 1, noDoubt, func(m *model) { m.elsewhere = 2 }},
		{"in use is off by just as many", Query{}, with, 1, contradicted, func(m *model) {
			m.sockets = append(m.sockets, of(5, bound4)...)
			m.skew = func(g *gauges) { g.inUse += 5 }
		}},
		{"in use is off, without ESTABLISHED to tell", Query{States: tcpstate.All}, crowds.Without(tcpstate.Established), 1, noDoubt, func(m *model) {
			m.sockets = append(of(10, estab4), append(of(800, timeWait4), of(5, bound4)...)...)
			m.skew = func(g *gauges) { g.inUse += 5 }
		}},
		{"one more elsewhere meanwhile", Query{}, crowds, 1, noDoubt, func(m *model) {
			move(m, func(nth int) { m.elsewhere = int64(nth - 1) })
		}},
		{"one bound meanwhile", Query{}, crowds, 1, noDoubt, func(m *model) {
			move(m, func(nth int) {
				if nth == 2 {
					m.sockets = append(m.sockets, bound4)
				}
			})
		}},
		{"one bound and one reset meanwhile", Query{}, crowds, 1, noDoubt, func(m *model) {
			move(m, func(nth int) {
				if nth == 2 {
					m.sockets = append(m.sockets, bound4, modelSocket{family: IPv4, state: tcpstate.BoundInactive, reset: true})
				}
			})
		}},
		{"connections meanwhile", Query{}, with, 0, noDoubt, func(m *model) {
			move(m, func(nth int) {
				if nth == 2 {
					m.sockets = append(m.sockets, estab4, estab6)
				}
			})
		}},
		{"connections and one bound meanwhile", Query{}, crowds, 1, noDoubt, func(m *model) {
			move(m, func(nth int) {
				if nth == 2 {
					m.sockets = append(m.sockets, estab4, estab6, bound4)
				}
			})
		}},
		{"not all of the full states", Query{States: with}, with, 0, noDoubt, func(m *model) {
			m.sockets = slices.Concat(of(1000, estab4), of(3, closeWait4), of(800, timeWait4))
		}},
		{"not of TIME_WAIT alone", Query{States: tcpstate.TimeWait.Set().With(tcpstate.BoundInactive)}, tcpstate.TimeWait.Set(), 1, noDoubt, func(m *model) {
			m.sockets = append(m.sockets, bound4)
		}},
		{"not asked for", Query{States: tcpstate.All.Without(tcpstate.BoundInactive)}, crowds, 0, noDoubt, func(m *model) {
			m.sockets = append(m.sockets, bound4)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(slices.Clone(crowd)...)
			m.elsewhere = 0
			m.expected = inclusive
			tt.set(m)
			c := m.client(t, minCrowd)
			walks := 0
			m.answerTo = func(request []byte) []datagram {
				if requestedStates(request).Has(tcpstate.BoundInactive) {
					walks++
				}
				return m.dump(request)
			}
			counts, err := c.Count(t.Context(), tt.q)
			if run := c.run(); err != nil || run.out != tt.out || run.doubt != tt.doubt || walks != tt.walks {
				t.Errorf("%+v, %d walks, %v; want %v, %d", run, walks, err, tt.out, tt.walks)
			}
			if want, _ := m.want(tt.q); m.atRead == nil && counts != want || counts[tcpstate.BoundInactive] != want[tcpstate.BoundInactive] {
				t.Errorf("%v, want %v", counts, want)
			}
		})
	}
}

// requestedStates is the mask of a dump request.
func requestedStates(request []byte) tcpstate.Set {
	if ne.Uint16(request[4:]) == uapi.SockDiagByFamily {
		return tcpstate.Set(ne.Uint32(request[20:]))
	}
	return tcpstate.Set(ne.Uint32(request[68:]))
}

// In a namespace that moves, gauges of two moments may differ by a little.
func TestCountInMotion(t *testing.T) {
	m := newModel(slices.Concat(of(1000, estab4), of(10, listen4))...)
	m.atRead = func(nth int) {
		if nth == 2 { // after the dump
			m.mu.Lock()
			m.sockets = append(m.sockets, slices.Concat(of(5, estab6), of(4, closeWait6))...)
			m.mu.Unlock()
		}
	}
	c := m.client(t, minCrowd)
	counts, err := c.Count(t.Context(), Query{})
	if run := c.run(); err != nil || run.doubt != noDoubt || run.out != tcpstate.Established.Set() || run.rows != 10 {
		t.Errorf("%+v, %v", run, err)
	}
	// CLOSE_WAIT was not there when the rows came; CurrEstab has it.
	if counts[tcpstate.Established] != 1009 || counts[tcpstate.CloseWait] != 0 || counts[tcpstate.Listen] != 10 {
		t.Errorf("%v", counts)
	}
	if c.counting.learned.meaning != untold {
		t.Error("learned something from what moved")
	}
}

// A crowd in CLOSE_WAIT is not dumped where the Client knows that CurrEstab has it,
// and else it is.
func TestCountOfCloseWait(t *testing.T) {
	establishedOut, closeWaitOut := tcpstate.Established.Set(), tcpstate.CloseWait.Set()
	for _, tt := range []struct {
		exclusive bool
		expected  meaning
		runs      []countRun
	}{
		{false, inclusive, []countRun{{out: establishedOut, rows: 2902}, {out: closeWaitOut, rows: 102}, {out: closeWaitOut, rows: 102}}},
		{false, untold, []countRun{{out: establishedOut, rows: 2902 + 3002, doubt: untaught}, {out: closeWaitOut, rows: 102}}},
		{true, untold, []countRun{{out: establishedOut, rows: 2902 + 3002, doubt: untaught}, {out: establishedOut, rows: 2902}, {out: establishedOut, rows: 2902}}},
		{true, inclusive, []countRun{{out: establishedOut, rows: 2902 + 3002, doubt: negative}, {out: establishedOut, rows: 2902}}},
	} {
		m := newModel(slices.Concat(of(100, estab4), of(2000, closeWait4), of(900, closeWait6), of(2, listen4))...)
		m.exclusive, m.expected = tt.exclusive, tt.expected
		c := m.client(t, minCrowd)
		check := func(expect countRun) {
			t.Helper()
			counts, err := c.Count(t.Context(), Query{})
			if want, _ := m.want(Query{}); counts != want || err != nil {
				t.Errorf("%v, %v, want %v", counts, err, want)
			}
			if run := c.run(); run != expect {
				t.Errorf("exclusive %v, expected %v: %+v, want %+v", tt.exclusive, tt.expected, run, expect)
			}
		}
		for _, expect := range tt.runs {
			check(expect)
		}
		// It ends, and ESTABLISHED becomes the crowd.
		m.sockets = append(of(5000, estab6), closeWait4)
		if tt.exclusive {
			check(countRun{out: establishedOut, rows: 1})
		} else {
			check(countRun{out: closeWaitOut, rows: 5000})
		}
		check(countRun{out: establishedOut, rows: 1})
		// And a kernel that is not what was learned is found out.
		m.sockets = append(of(100, estab6), of(2000, closeWait4)...)
		m.exclusive, c.counting.expected = true, untold
		c.forget(learned{closeWaits: true, meaning: inclusive})
		check(countRun{out: closeWaitOut, rows: 100 + 2100, doubt: contradicted})
		check(countRun{rows: 2100}) // a rest
		check(countRun{out: establishedOut, rows: 2000 + 2100, doubt: untaught})
		check(countRun{out: establishedOut, rows: 2000})
	}
}

// Where "inuse" is not the sum of what is in the tables, which happens, one dump
// shows that CurrEstab is right, and one more what it means if that is not known.
func TestCountWhereInUseIsOff(t *testing.T) {
	for _, exclusive := range []bool{false, true} {
		m := newModel(slices.Concat(of(1000, estab4), of(2, listen4))...)
		m.exclusive = exclusive
		m.skew = func(g *gauges) { g.inUse -= 7 }
		c := m.client(t, minCrowd)
		for call, expect := range []countRun{
			{out: tcpstate.Established.Set(), rows: 1004, doubt: contradicted},
			{out: tcpstate.Established.Set(), rows: 2}, // CLOSE_WAIT is zero
			{out: tcpstate.Established.Set(), rows: 5 + 1005, doubt: untaught},
			{out: tcpstate.Established.Set(), rows: 5},
			{out: tcpstate.Established.Set(), rows: 9},
		} {
			switch call {
			case 2:
				m.sockets = append(m.sockets, of(3, closeWait4)...)
			case 4:
				m.sockets = append(m.sockets, of(4, closeWait6)...)
				m.skew = func(g *gauges) { g.inUse -= 20 }
			}
			counts, err := c.Count(t.Context(), Query{})
			if want, _ := m.want(Query{}); counts != want || err != nil {
				t.Errorf("call %d: %v, %v, want %v", call, counts, err, want)
			}
			if run := c.run(); run != expect {
				t.Errorf("exclusive %v, call %d: %+v, want %+v", exclusive, call, run, expect)
			}
		}
		// So it is where "inuse" lacks just as many as there are in CLOSE_WAIT, so that
		// it would agree with the wrong meaning.
		for _, lacks := range []int64{3, -3} {
			m := newModel(slices.Concat(of(1000, estab4), of(3, closeWait4))...)
			m.exclusive = exclusive
			m.skew = func(g *gauges) { g.inUse -= lacks }
			c := m.client(t, minCrowd)
			for range 3 {
				counts, err := c.Count(t.Context(), Query{})
				if want, _ := m.want(Query{}); counts != want || err != nil {
					t.Errorf("%v, %v, want %v", counts, err, want)
				}
			}
			if run := c.run(); run != (countRun{out: tcpstate.Established.Set(), rows: 3}) {
				t.Errorf("%+v", run)
			}
		}
		// Nothing is learned where CurrEstab is what is wrong, or something moves.
		for _, skew := range []func(int) func(*gauges){
			func(int) func(*gauges) { return func(g *gauges) { g.currEstab += 2 } },
			func(nth int) func(*gauges) { return func(g *gauges) { g.inUse -= int64(400 + nth) } },
		} {
			m := newModel(slices.Concat(of(1000, estab4), of(2, listen4))...)
			m.exclusive = exclusive
			m.atRead = func(nth int) { m.skew = skew(nth) }
			c := m.client(t, minCrowd)
			for range 5 {
				counts, err := c.Count(t.Context(), Query{})
				if want, _ := m.want(Query{}); counts != want || err != nil || c.run().doubt != contradicted {
					t.Errorf("%v, %v, %+v", counts, err, c.run())
				}
				if l := c.counting.learned; l != (learned{}) {
					t.Errorf("learned %+v", l)
				}
				c.forget(learned{})
			}
		}
	}
}

// Plans that fail are not made every time.
func TestCountRests(t *testing.T) {
	m := newModel(slices.Concat(of(1000, estab4), of(900, closeWait4))...)
	c := m.client(t, minCrowd)
	var tried []int
	for call := range 50 {
		// To subtract CLOSE_WAIT takes about as many rows as to dump ESTABLISHED.
		counts, err := c.Count(t.Context(), Query{States: tcpstate.Established.Set()})
		if counts != (tcpstate.Counts{tcpstate.Established: 1000}) || err != nil {
			t.Errorf("%v, %v", counts, err)
		}
		run := c.run()
		if run.doubt == outnumbered {
			tried = append(tried, call)
		}
		if most := 1000 + 1900/4 + 1; run.rows > most || run.rows < 1000 {
			t.Errorf("%d rows", run.rows)
		}
	}
	if want := []int{0, 2, 5, 10, 19, 36}; !slices.Equal(tried, want) {
		t.Errorf("tried at calls %v, want %v", tried, want)
	}
	// One that succeeds clears the record.
	m.sockets = of(1000, estab4)
	c.counting.rest = 0
	if _, err := c.Count(t.Context(), Query{}); err != nil || c.counting.failed != 0 {
		t.Errorf("%d failures, %v", c.counting.failed, err)
	}
}

// What cannot have a plan does not even read the files.
func TestCountThatOnlyDumps(t *testing.T) {
	sockets := slices.Concat(of(1000, estab4), of(1000, timeWait4), of(1000, closeWait4), of(1000, listen4))
	filter, err := ParseFilter("sport = :1000")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []Query{
		{States: tcpstate.All.Without(tcpstate.Established, tcpstate.TimeWait)},
		{States: tcpstate.SetOf(tcpstate.Listen, tcpstate.CloseWait)},
		{Filter: filter},
		{Filter: filter, States: tcpstate.Established.Set()},
		{Family: IPv4},
		{Family: IPv6, States: crowds},
		{States: tcpstate.SetOf(tcpstate.Established, tcpstate.NewSynRecv)},
	} {
		m := newModel(sockets...)
		c := m.client(t, 0)
		counts, err := c.Count(t.Context(), q)
		want, rows := m.want(q)
		if run := c.run(); counts != want || err != nil || run != (countRun{rows: rows}) || m.reads.Load() != 0 {
			t.Errorf("%+v: %v, %v, %+v, %d reads", q, counts, err, run, m.reads.Load())
		}
	}
	for _, p := range []Protocol{UDP, MPTCP} {
		m := newModel()
		c := m.client(t, 0)
		m.answerTo = nil
		m.answer = func(seq uint32, _ int) []datagram { return []datagram{done(seq)} }
		if _, err := c.Count(t.Context(), Query{Protocol: p}); err != nil || m.reads.Load() != 0 {
			t.Errorf("%v: %v, %d reads", p, err, m.reads.Load())
		}
	}
	// Few sockets are dumped.
	m := newModel(slices.Concat(of(minCrowd-1, estab4), of(minCrowd-1, timeWait4))...)
	c := m.client(t, minCrowd)
	counts, err := c.Count(t.Context(), Query{})
	if want, rows := m.want(Query{}); counts != want || err != nil || c.run() != (countRun{rows: rows}) {
		t.Errorf("%v, %v, %+v", counts, err, c.run())
	}
}

// The files are opened at the first Count that has a use for them, once, and closed
// with the Client.
func TestCountOpens(t *testing.T) {
	m := newModel(of(minCrowd, estab4)...)
	c := m.client(t, minCrowd)
	opened := 0
	var fails error
	c.counting.open = func() (gaugeReader, error) {
		opened++
		if fails != nil {
			return nil, fails
		}
		return m, nil
	}
	for range 3 {
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				if counts, err := c.Count(t.Context(), Query{}); counts[tcpstate.Established] != minCrowd || err != nil {
					t.Errorf("%v, %v", counts, err)
				}
			})
		}
		calls.Wait()
	}
	if opened != 1 || m.closed != 0 {
		t.Errorf("opened %d times, closed %d times", opened, m.closed)
	}
	for range 2 {
		if err := c.Close(); err != nil || m.closed != 1 {
			t.Errorf("%v, closed %d times", err, m.closed)
		}
	}
	if _, err := c.Count(t.Context(), Query{}); !errors.Is(err, net.ErrClosed) || opened != 1 {
		t.Errorf("of a closed Client: %v, opened %d times", err, opened)
	}

	for _, fails = range []error{fs.ErrNotExist, fs.ErrPermission} {
		opened = 0
		c := m.client(t, minCrowd)
		c.counting.open = func() (gaugeReader, error) { opened++; return nil, fails }
		for range 3 {
			if counts, err := c.Count(t.Context(), Query{}); counts[tcpstate.Established] != minCrowd || err != nil || c.run() != (countRun{rows: minCrowd}) {
				t.Errorf("%v, %v, %+v", counts, err, c.run())
			}
		}
		if opened != 1 {
			t.Errorf("tried %d times to open what cannot be", opened)
		}
	}
	// A Client that is closed before its first Count opens nothing.
	opened = 0
	c = m.client(t, minCrowd)
	c.counting.open = func() (gaugeReader, error) { opened++; return m, nil }
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Count(t.Context(), Query{}); !errors.Is(err, net.ErrClosed) || opened != 0 {
		t.Errorf("%v, opened %d times", err, opened)
	}
}

// A dump that fails within a plan is an error, not a reason for another.
func TestCountPlanFails(t *testing.T) {
	m := newModel(of(minCrowd, estab4)...)
	c := m.client(t, minCrowd)
	ctx, cancel := context.WithCancel(t.Context())
	m.atRead = func(int) { cancel() }
	counts, err := c.Count(ctx, Query{States: crowds})
	if counts != (tcpstate.Counts{}) || err != nil && !errors.Is(err, context.Canceled) || err == nil {
		t.Errorf("%v, %v", counts, err)
	}
	m.atRead = nil
	requests := len(m.requests)
	m.answerTo = func(request []byte) []datagram {
		return []datagram{{data: netlinkMessage(uapi.TCPDiagGetSock, 2, ne.Uint32(request[8:]), make([]byte, 40))}}
	}
	var decode *DecodeError
	var op *OpError
	_, err = c.Count(t.Context(), Query{})
	if !errors.As(err, &decode) || !errors.As(err, &op) || op.Op != "count" || op.Protocol != TCP {
		t.Errorf("%v", err)
	}
	sent := 0
	for _, r := range m.requests[requests:] {
		if !primes(r) {
			sent++
		}
	}
	if sent != 1 {
		t.Errorf("%d requests", sent)
	}
}
