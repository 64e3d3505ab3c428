package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/internal/procnet"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Source is what Take asks for sockets. *sockdiag.Client is one; a test's may yield
// recorded Sockets. Dump has to honour Query.States.
//
// Two more methods of *sockdiag.Client are used where a Source has them. Namespace
// tells whose settings and counters belong to the sockets; without it they come
// from Options.ProcSys and Options.ProcNet. Lookup tells for how long a socket has
// been in CLOSE_WAIT.
type Source interface {
	// Dump streams the sockets that the query selects, as Client.Dump does.
	Dump(ctx context.Context, q sockdiag.Query) iter.Seq2[sockdiag.Socket, error]
}

type namespacer interface {
	Namespace() (*os.File, error)
}

type lookuper interface {
	Lookup(ctx context.Context, id sockdiag.ID, attrs sockdiag.Attrs) (sockdiag.Socket, error)
}

// Options are for Take and NewChecker. The zero Options are the defaults.
type Options struct {
	// Destinations is how many a Snapshot has at most; zero: 100. Listeners is how
	// many of those; zero: 1000.
	Destinations, Listeners int

	// Owners: find the processes of sockets that are part of a trouble. It takes
	// about two microseconds for each descriptor of each process of the host, if
	// there is such a socket. See package owner for what privilege shows of others.
	Owners bool

	// ProcSys and ProcNet stand for /proc/sys and /proc/net, for a Source that
	// has no namespace: os.DirFS of copies, fstest.MapFS. A Client's own are always
	// read from its namespace; to name others for it is an error.
	ProcSys, ProcNet fs.FS

	// The rest is for a Checker.

	// Thresholds are for its Diagnose.
	Thresholds Thresholds
	// Fail is the severity from which ServeHTTP answers 503; zero: Critical.
	Fail Severity
	// MaxAge is for how long an answer is given again before the host is looked at
	// anew; zero: 5 seconds. An error is given again as long, but for one second at
	// most.
	MaxAge time.Duration
}

func (o *Options) destinations() int { return orDefault(o.Destinations, 100) }
func (o *Options) listeners() int    { return orDefault(o.Listeners, 1000) }

func orDefault[T int | float64 | time.Duration](v, normal T) T {
	if v == 0 {
		return normal
	}
	return v
}

const (
	tableSize  = 8192 // destinations that are counted at a time
	sampleSize = 32
)

// Take looks at the TCP sockets of the Client's namespace, at its settings and at
// its counters. It needs no privilege if that namespace is the calling process's,
// and otherwise what sysctl.InNamespace says.
//
// The sockets are walked once, without attributes. The listeners are asked for
// before, which does not walk them again, because a connection on a port with a
// listener uses up no port for connections that go out. The memory that it takes
// is about two megabytes, however many sockets and destinations there are, and some
// hundred bytes for each port with a listener.
//
// Sockets, settings and counters are of one namespace, or Take fails. What the
// namespace has and cannot be read is in Snapshot.Gaps.
func Take(ctx context.Context, c Source, opts Options) (*Snapshot, error) {
	if opts.Destinations < 0 || opts.Listeners < 0 {
		return nil, fmt.Errorf("health: Options.Destinations %d or Listeners %d is below 0: %w", opts.Destinations, opts.Listeners, fs.ErrInvalid)
	}
	s := &Snapshot{Time: time.Now()}
	if err := s.readProc(c, &opts); err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	t := &tally{
		snapshot: s, delay: s.Settings.reuseDelay(), most: opts.listeners(), flows: newSummary(tableSize),
		closeWait: newSample(sampleSize), finWait2: newSample(sampleSize),
	}
	t.usable()
	listen := tcpstate.SetOf(tcpstate.Listen)
	for socket, err := range c.Dump(ctx, sockdiag.Query{States: listen}) {
		if err != nil {
			return nil, err
		}
		t.listener(&socket)
	}
	for socket, err := range c.Dump(ctx, sockdiag.Query{States: tcpstate.All.Without(tcpstate.Listen)}) {
		if err != nil {
			return nil, err
		}
		t.row(&socket)
	}
	s.finish(t, &opts)
	if err := s.lookCloser(ctx, c); err != nil {
		return nil, err
	}
	if opts.Owners {
		if err := s.findHolders(ctx); err != nil {
			return nil, err
		}
	}
	s.Took = time.Since(s.Time)
	return s, nil
}

// readProc reads the settings and counters of the Source's namespace.
func (s *Snapshot) readProc(c Source, opts *Options) error {
	if n, ok := c.(namespacer); ok {
		if opts.ProcSys != nil || opts.ProcNet != nil {
			return fmt.Errorf("Options.ProcSys and ProcNet are for a Source that has no namespace of its own: %w", fs.ErrInvalid)
		}
		ns, err := n.Namespace()
		if err != nil {
			return err
		}
		defer ns.Close()
		return s.readNamespace(int(ns.Fd()))
	}
	if opts.ProcSys == nil || opts.ProcNet == nil {
		return fmt.Errorf("the Source has no method Namespace, and Options no ProcSys and ProcNet: whose settings are they? %w", fs.ErrInvalid)
	}
	s.readSys(opts.ProcSys)
	r, err := procnet.OpenFS(opts.ProcNet, counterFiles[:]...)
	return s.readNet(r, err)
}

var counterFiles = [...]procnet.File{procnet.Netstat, procnet.SNMP, procnet.Sockstat, procnet.Sockstat6, procnet.Conntrack}

func (s *Snapshot) readSys(fsys fs.FS) {
	var gaps []string
	fsys = newOnce(fsys)
	s.Settings, gaps = readSettings(fsys)
	s.Gaps = append(s.Gaps, gaps...)
	if text, err := fs.ReadFile(fsys, "kernel/osrelease"); err == nil {
		s.Kernel, _ = sockdiag.ParseRelease(strings.TrimSpace(string(text))) // zero if it makes no sense
	}
}

// readNet reads the counters of a Reader, unless err says that there is none.
func (s *Snapshot) readNet(r *procnet.Reader, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		s.Gaps = append(s.Gaps, "counters: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	counters, err := r.Counters()
	if err != nil {
		s.Gaps = append(s.Gaps, "counters: "+err.Error())
	}
	s.Counters = counters
	for name := range s.Counters {
		if !tcpCounter(name) {
			delete(s.Counters, name)
		}
	}
	return r.Close()
}

func tcpCounter(name string) bool {
	for _, prefix := range [...]string{"Tcp.", "TcpExt.", "sockstat.TCP.", "sockstat6.TCP6.", "nf_conntrack."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// lookCloser asks how long the sampled sockets have heard nothing from their peers.
// One that has gone meanwhile stays in the sample: it was there.
func (s *Snapshot) lookCloser(ctx context.Context, c Source) error {
	l, ok := c.(lookuper)
	if !ok {
		return nil
	}
	for _, kind := range [...]struct {
		state   tcpstate.State
		sockets []Sampled
	}{{tcpstate.CloseWait, s.CloseWait}, {tcpstate.FinWait2, s.OwnedFinWait2}} {
		sockets := kind.sockets
		for i := range sockets {
			found, err := l.Lookup(ctx, sockets[i].ID, sockdiag.AttrTCPInfo)
			switch {
			case errors.Is(err, os.ErrNotExist):
				continue
			case err != nil:
				return err
			}
			// The FIN, or what acknowledged ours, came in with that segment or before.
			if found.State == kind.state && found.TCPInfo.Has(sockdiag.FieldLastAckRecv) {
				sockets[i].Since = max(0, found.TCPInfo.LastAckRecv)
			}
		}
	}
	return nil
}

// findHolders finds the processes of the sockets that a Finding may be about.
func (s *Snapshot) findHolders(ctx context.Context) error {
	var inodes []uint32
	add := func(inode uint32) {
		if inode != 0 {
			inodes = append(inodes, inode)
		}
	}
	for i := range s.CloseWait {
		add(s.CloseWait[i].Inode)
	}
	for i := range s.OwnedFinWait2 {
		add(s.OwnedFinWait2[i].Inode)
	}
	for i := range s.Listeners {
		if s.Listeners[i].Queued > 0 || s.busy(s.Listeners[i].Local.Port()) {
			add(s.Listeners[i].Inode)
		}
	}
	for i := range s.Destinations {
		if d := &s.Destinations[i]; d.Used > s.Ports.Usable/4 || d.Silent > 0 {
			add(d.Inode)
		}
	}
	if len(inodes) == 0 {
		return nil
	}
	owners, err := owner.Find(ctx, inodes...)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.Gaps = append(s.Gaps, "processes: "+err.Error())
		return nil
	}
	s.HoldersHidden = !owners.Complete()
	s.Holders = make(map[uint32][]owner.Process)
	for _, inode := range inodes {
		holders, _ := owners.Of(inode)
		var processes []owner.Process
		for _, h := range holders {
			if len(processes) == 0 || processes[len(processes)-1].PID != h.Process.PID {
				processes = append(processes, *h.Process)
			}
		}
		if processes != nil {
			s.Holders[inode] = processes
		}
	}
	return nil
}

// busy reports whether a port with a listener has half-open connections, or most of
// the namespace's TIME_WAIT.
func (s *Snapshot) busy(port uint16) bool {
	for i := range s.Listening {
		if p := &s.Listening[i]; p.Port == port {
			return p.SynRecv > 0 || 2*p.TimeWait > s.Counts[tcpstate.TimeWait] || p.CloseWait > 0
		}
	}
	return false
}
