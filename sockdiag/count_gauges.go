package sockdiag

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/seed16c515c6/timewait/internal/procnet"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// gauges are what the kernel itself keeps count of in a network namespace.
type gauges struct {
	// inUse is "inuse" of sockstat and sockstat6 together: the full sockets in the
	// table of listeners and that of connections. Some kernels (6.18.15 is one)
	// leave out the subflows of MPTCP sockets of IPv6, which even a listener has.
	inUse int64

	// currEstab is "Tcp CurrEstab" of snmp: ESTABLISHED of both families, and on
	// kernels since the middle of 2024 CLOSE_WAIT.
	currEstab int64

	// minis is "tw" of sockstat: mini-sockets of both families, in TIME_WAIT or
	// FIN_WAIT2.
	minis int64

	// allocated is "alloc" of sockstat: the full sockets of all namespaces of the host,
	// in a table or not.
	allocated int64
}

// ofNamespace returns the gauges without the one that is not about the namespace.
func (g gauges) ofNamespace() gauges {
	g.allocated = 0
	return g
}

// gaugeReader reads them: a *procnet.Reader, or a test's fake of one.
type gaugeReader interface {
	CurrEstab() (int64, error)
	TCPSockets() (procnet.TCPSockets, error)
	TCP6InUse() (int64, error)
	Close() error
}

// openGauges returns a function that opens the files of the namespace, nil where
// that is not known.
func openGauges(ns *os.File) func() (gaugeReader, error) {
	if ns == nil {
		return nil
	}
	return func() (gaugeReader, error) {
		raw, err := ns.SyscallConn()
		if err != nil {
			return nil, err
		}
		var r *procnet.Reader
		cerr := raw.Control(func(fd uintptr) {
			r, err = procnet.Open(int(fd), procnet.SNMP, procnet.Sockstat, procnet.Sockstat6)
		})
		if err = errors.Join(cerr, err); err != nil {
			return nil, err // not a nil *procnet.Reader in a gaugeReader
		}
		return r, nil
	}
}

// readInUse reads all but currEstab, for which the kernel has to sum up the most.
func (g *gauges) readInUse(r gaugeReader) error {
	tcp, err := r.TCPSockets()
	if err != nil {
		return err
	}
	v6, err := r.TCP6InUse()
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6 has no such file
		return err
	}
	g.inUse, g.minis, g.allocated = tcp.InUse+v6, tcp.TimeWait, tcp.Allocated
	return nil
}

func (g *gauges) readCurrEstab(r gaugeReader) (err error) {
	g.currEstab, err = r.CurrEstab()
	return err
}

func (g *gauges) read(r gaugeReader) error {
	if err := g.readInUse(r); err != nil {
		return err
	}
	return g.readCurrEstab(r)
}

// counting is what a Client keeps between calls of Count.
type counting struct {
	open     func() (gaugeReader, error) // nil: there are no gauges
	crowd    int64                       // from so many sockets on a state is not dumped
	expected meaning                     // of CurrEstab, by the kernel's version

	mu      sync.Mutex // guards what follows; not held while anything is read
	reader  gaugeReader
	opened  bool // or tried to, or closed
	failed  uint // plans in a row that came to nothing
	rest    uint // calls until the next may be made
	learned learned
	last    countRun
}

// minCrowd is 150 microseconds of dumping at least, against 30 for the gauges.
const minCrowd = 512

// learned is what earlier calls have found out. Of calls at the same time the last
// one's is kept, so that something may have to be learned again.
type learned struct {
	closeWaits bool    // CLOSE_WAIT is the crowd, not ESTABLISHED
	meaning    meaning // of CurrEstab, as dumps or the other gauges have shown
	inUseOff   bool    // a dump has shown that CurrEstab is right and inUse is not
}

// meaning is what CurrEstab includes.
type meaning uint8

const (
	untold    meaning = iota
	inclusive         // CLOSE_WAIT too
	exclusive         // ESTABLISHED alone
)

// expectedMeaning is what CurrEstab includes by the kernel's version: CLOSE_WAIT
// since 6.10. Older ones may have that change or not.
func expectedMeaning() meaning {
	if r, err := RunningRelease(); err == nil && r.AtLeast(6, 11) {
		return inclusive
	}
	return untold
}

// countRun is what one Count did.
type countRun struct {
	out   tcpstate.Set // the states that were not dumped
	rows  int          // that the kernel sent, those of an abandoned plan too
	doubt doubt        // why a plan was abandoned, and all was dumped
}

// gauges returns the reader, which the first call opens, or nil if there is none.
// What could not be opened once is not tried again.
func (k *counting) gauges() gaugeReader {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.opened {
		k.opened = true
		if k.open != nil {
			if r, err := k.open(); err == nil {
				k.reader = r
			}
		}
	}
	return k.reader
}

// close closes the reader, and has none opened later.
func (k *counting) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opened = true
	if k.reader == nil {
		return nil
	}
	r := k.reader
	k.reader = nil
	return r.Close()
}

// maxRest is how many calls a plan that failed again and again is left alone.
const maxRest = 16

// turn returns what was learned, and whether a plan may be made: after one that
// failed not for some calls, so that a table that does not lend itself to it is
// not walked twice each time.
func (k *counting) turn() (l learned, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rest > 0 {
		k.rest--
		return k.learned, false
	}
	return k.learned, true
}

// ran records what a call did.
func (k *counting) ran(run countRun) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = run
}

// note records how a plan ended, and what was learned.
func (k *counting) note(run countRun, l learned) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.learned = run, l
	if run.doubt == noDoubt {
		k.failed = 0
		return
	}
	k.rest = min(uint(1)<<k.failed, maxRest)
	k.failed = min(k.failed+1, maxRest)
}

// learn is called where a plan came to nothing and everything was dumped. If nothing
// has moved since, the dump tells which of the gauges is right and what it means.
func (k *counting) learn(a *attempt, established int64) {
	switch a.run.doubt {
	case negative, contradicted, untaught:
	default:
		return
	}
	if !a.plan.out.Has(tcpstate.Established) || a.before.ofNamespace() != a.after.ofNamespace() {
		return
	}
	reader := k.gauges()
	var now gauges
	if reader == nil || now.read(reader) != nil || now.ofNamespace() != a.after.ofNamespace() {
		return
	}
	var m meaning
	switch now.currEstab {
	case established + a.closeWait:
		m = inclusive
	case established:
		m = exclusive
	default:
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	l := learned{closeWaits: a.closeWait > established, meaning: k.learned.meaning, inUseOff: established != a.estabInUse}
	if a.closeWait != 0 { // or both equations hold
		l.meaning = m
	}
	if l != k.learned {
		k.learned, k.failed, k.rest = l, 0, 0
	}
}
