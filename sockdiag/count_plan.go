package sockdiag

import (
	"context"
	"errors"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// hashed are the states of full sockets in the tables that the kernel counts as
// "inuse".
const hashed = 1<<tcpstate.Established | 1<<tcpstate.SynSent | 1<<tcpstate.SynRecv | 1<<tcpstate.FinWait1 |
	1<<tcpstate.FinWait2 | 1<<tcpstate.CloseWait | 1<<tcpstate.LastAck | 1<<tcpstate.Listen | 1<<tcpstate.Closing

// doubt is why the gauges and the rows do not add up to an answer.
type doubt uint8

const (
	noDoubt      doubt = iota
	unreadable         // a file cannot be read, any longer
	outnumbered        // too many rows that nobody asked for
	negative           // a state would have fewer than no sockets
	contradicted       // the gauges do not agree
	untaught           // it is not known what CurrEstab includes
)

// crowdPlan is how to count without dumping the crowd: out are states that hold
// many sockets, whose number follows from the gauges and the rows of the others, and
// the one for which the kernel would walk a second table, in the hope of none.
type crowdPlan struct {
	out   tcpstate.Set // TIME_WAIT, and ESTABLISHED or CLOSE_WAIT; BOUND_INACTIVE
	asked tcpstate.Set // what the query selects
	mask  tcpstate.Set // what is dumped: what is asked, and what it takes to subtract
	limit int          // rows that nobody asked for, beyond which dumping it all is as cheap
}

// full is the state of full sockets that is left out, zero if there is none.
func (p *crowdPlan) full() tcpstate.State {
	for s := range p.out.Without(tcpstate.TimeWait, tcpstate.BoundInactive).States() {
		return s
	}
	return 0
}

// planCount makes the plan for a query that is countable, or ok false where there
// are few sockets.
func planCount(q *Query, g *gauges, l learned, crowd int64) (p crowdPlan, ok bool) {
	p.asked = q.rowFilter().states
	saved := int64(0)
	if p.asked.Has(tcpstate.Established) && g.inUse >= crowd {
		p.out = tcpstate.Established.Set()
		if l.closeWaits && l.meaning == inclusive && p.asked.Has(tcpstate.CloseWait) {
			p.out = tcpstate.CloseWait.Set()
		}
		p.mask, saved = hashed, g.inUse
	}
	if p.asked.Has(tcpstate.TimeWait) && g.minis >= crowd {
		p.out = p.out.With(tcpstate.TimeWait)
		p.mask, saved = p.mask.With(tcpstate.FinWait2), saved+g.minis
	}
	if p.out == 0 {
		return p, false
	}
	// Where every socket there is in the host is in a table of this namespace, none is
	// merely bound.
	all := (p.mask|p.asked)&hashed == hashed
	if p.asked.Has(tcpstate.BoundInactive) && all && g.allocated == g.inUse && !l.inUseOff {
		p.out = p.out.With(tcpstate.BoundInactive)
	}
	p.mask = (p.mask | p.asked) &^ p.out
	p.limit = int(min(saved/4, 1<<30))
	return p, true
}

// countable reports whether a query can have a plan at all: one of TCP, of both
// families (the gauges have them together, or do not tell them apart on every
// kernel), without a filter, that asks for ESTABLISHED or TIME_WAIT.
func countable(q *Query) bool {
	states := q.states()
	return q.protocol() == TCP && q.Family == 0 && q.Filter == Filter{} &&
		(states.Has(tcpstate.Established) || states.Has(tcpstate.TimeWait)) &&
		// Asked for alone, request sockets cannot be told from full ones by the mask
		// that a plan needs.
		(states.Has(tcpstate.SynRecv) || !states.Has(tcpstate.NewSynRecv))
}

// attempt is the attempt to count without dumping the crowds.
type attempt struct {
	plan          crowdPlan
	before, after gauges // the dump
	closeWait     int64  // sockets that it had
	estabInUse    int64  // what inUse has left for ESTABLISHED, if that was left out
	run           countRun
}

// countMost counts by gauges and a dump of what they do not tell. With ok false
// and no error it could not, and all is to be dumped.
func (c *Client) countMost(ctx context.Context, q *Query, a *attempt) (counts tcpstate.Counts, ok bool, err error) {
	k := &c.counting
	if !countable(q) {
		return counts, false, nil
	}
	reader := k.gauges()
	if reader == nil {
		return counts, false, nil
	}
	l, ok := k.turn()
	if !ok || a.before.readInUse(reader) != nil {
		return counts, false, nil
	}
	if a.plan, ok = planCount(q, &a.before, l, k.crowd); !ok || a.before.readCurrEstab(reader) != nil {
		return counts, false, nil
	}
	rest := Query{States: a.plan.mask}
	r := rest.request()
	t := tally{plan: &a.plan, filter: rest.rowFilter(), expected: k.expected}
	err = c.ask(ctx, &r, t.row)
	a.run.out, a.run.rows, a.closeWait = a.plan.out, t.rows, t.closeWait
	switch {
	case err == errOutnumbered:
		a.run.doubt = outnumbered
	case err != nil:
		return counts, false, err
	case a.after.read(reader) != nil:
		a.run.doubt = unreadable
	default:
		a.estabInUse = a.after.inUse - t.full
		counts, a.run.doubt = t.solve(&a.before, &a.after, &l)
	}
	k.note(a.run, l)
	if a.run.doubt != noDoubt {
		return counts, false, nil
	}
	if a.plan.out.Has(tcpstate.BoundInactive) && !t.allInTables(&a.before, &a.after) {
		err = c.countBound(ctx, q, a, &counts)
	}
	return counts, err == nil, err
}

// countBound adds what a walk of the table of bound sockets finds, which the plan
// hoped to spare.
func (c *Client) countBound(ctx context.Context, q *Query, a *attempt, counts *tcpstate.Counts) error {
	a.run.out = a.run.out.Without(tcpstate.BoundInactive)
	bound := Query{States: tcpstate.BoundInactive.Set()}
	r := bound.request()
	found := counter{filter: q.rowFilter(), protocol: TCP}
	err := c.ask(ctx, &r, found.row)
	counts.Merge(found.counts)
	a.run.rows += found.rows
	c.counting.ran(a.run)
	return err
}

// allInTables reports whether the sockets that were seen or computed are all that
// there are in the host, so that none can be merely bound. In a namespace that moves
// the gauges have to say so again.
func (t *tally) allInTables(before, after *gauges) bool {
	if moved(before, after) {
		return after.allocated == after.inUse
	}
	return after.allocated == t.full+t.computed
}

// errOutnumbered ends the dump of a plan.
var errOutnumbered = errors.New("more rows than a dump of what is asked for is likely to have")

// tally counts the rows of a plan's dump.
type tally struct {
	plan     *crowdPlan
	filter   rowFilter
	expected meaning
	rows     int
	unasked  int

	counts    tcpstate.Counts // what was asked for
	full      int64           // sockets that are "inuse"
	minis     int64           // mini-sockets in FIN_WAIT2
	estab     int64           // whether they were asked for or not
	closeWait int64

	computed int64 // full sockets in the state that was left out
}

func (t *tally) row(msg []byte) error {
	if len(msg) < uapi.SizeofInetDiagMsg {
		return &DecodeError{What: "inet_diag_msg", Len: len(msg), Want: uapi.SizeofInetDiagMsg}
	}
	t.rows++
	state, ok := t.filter.state(tcpstate.State(msg[1]), msg)
	if !ok {
		return nil
	}
	full, err := isFull(msg[uapi.SizeofInetDiagMsg:])
	if err != nil {
		return err
	}
	switch {
	case state == tcpstate.Closed || state == tcpstate.BoundInactive:
		// In no table that is counted.
	case full:
		t.full++
	case state == tcpstate.FinWait2:
		t.minis++
	}
	switch state {
	case tcpstate.Established:
		t.estab++
	case tcpstate.CloseWait:
		t.closeWait++
	}
	if t.plan.asked.Has(state) || state > maxKnownState {
		t.counts.Add(state, 1)
		return nil
	}
	if t.unasked++; t.unasked > t.plan.limit {
		return errOutnumbered
	}
	return nil
}

// isFull tells full sockets, which say what is shut down of them, from
// mini-sockets and request sockets, by the attributes of a row.
func isFull(attrs []byte) (bool, error) {
	for len(attrs) > 0 {
		n, typ := attrHeader(attrs)
		if n == 0 {
			return false, attrError(attrs)
		}
		if typ == uapi.InetDiagShutdown {
			return true, nil
		}
		attrs = attrs[min(align4(n), len(attrs)):]
	}
	return false, nil
}

// solve computes what was left out. On a namespace in which nothing moves the
// result is right or there is a doubt. The gauges of before are from before the
// dump and those of after from after it.
func (t *tally) solve(before, after *gauges, l *learned) (tcpstate.Counts, doubt) {
	counts := t.counts
	if t.plan.out.Has(tcpstate.TimeWait) {
		n := after.minis - t.minis
		if n < 0 {
			return counts, negative
		}
		counts[tcpstate.TimeWait] = uint64(n)
	}
	if state := t.plan.full(); state != 0 {
		n, why := t.solveFull(state, before, after, l)
		if why != noDoubt {
			return counts, why
		}
		counts[state] = uint64(n)
		t.computed = n
	}
	return counts, noDoubt
}

// moved reports whether the namespace had full sockets come or go between two
// readings.
func moved(before, after *gauges) bool {
	return before.inUse != after.inUse || before.currEstab != after.currEstab
}

// solveFull computes the full sockets in the state that was left out from CurrEstab.
// Whether that includes CLOSE_WAIT depends on the kernel, in a way that its version
// does not always tell. What is "inuse" less the full sockets that were seen must
// come to the same: those gauges have nothing to do with each other.
//
// In a namespace that is at rest the two are equal. Where something moved they may
// differ by what moved between the readings and the rows; more is a doubt. Only
// where a dump has shown that "inuse" is wrong does CurrEstab stand alone, and then
// a dump has to have shown as well what it includes.
func (t *tally) solveFull(state tcpstate.State, before, after *gauges, l *learned) (int64, doubt) {
	means := l.meaning
	if means == untold && !l.inUseOff {
		means = t.expected
	}
	n := after.currEstab
	switch {
	case state == tcpstate.CloseWait: // planned where it is included
		n -= t.estab
	case t.closeWait == 0: // all the same
	case means == untold:
		return 0, untaught
	case means == inclusive:
		n -= t.closeWait
	}
	if n < 0 {
		return 0, negative
	}
	moved := moved(before, after)
	if !l.inUseOff {
		far, most := distance(n, after.inUse-t.full), int64(0)
		if moved {
			most = slack + n/slackShare
		}
		if far > most {
			*l = learned{}
			return 0, contradicted
		}
	}
	if state == tcpstate.CloseWait {
		l.closeWaits = n > t.estab
		return n, noDoubt
	}
	l.closeWaits = t.closeWait > n
	if !moved && t.closeWait != 0 {
		l.meaning = means
	}
	return n, noDoubt
}

// What two numbers may differ by that are of two moments in a namespace that moves.
const (
	slack      = 32
	slackShare = 64 // one in so many
)

func distance(a, b int64) int64 { return max(a-b, b-a) }
