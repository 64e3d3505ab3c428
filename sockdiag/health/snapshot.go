package health

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
	"github.com/seed16c515c6/timewait/sysctl"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Snapshot is what Take saw of a network namespace. Its size does not depend on
// how many sockets there are. Numbers of sockets are from one dump, which is no
// snapshot in the strict sense: see sockdiag.Client.Dump.
type Snapshot struct {
	Time   time.Time        // when the dump began
	Took   time.Duration    // reading included
	Kernel sockdiag.Release // zero: not known

	Counts   tcpstate.Counts // TCP sockets by state
	FinWait2 FinWait2        // those in FIN_WAIT2, by kind

	CloseWaitOwned     uint64 // in CLOSE_WAIT and a process's
	FinWait1Probing    uint64 // in FIN_WAIT1 before the closed window of a peer
	FinWait1Unanswered uint64 // in FIN_WAIT1 otherwise, data or the FIN sent again three times or more
	LastAckUnanswered  uint64 // in LAST_ACK, the FIN sent again three times or more, or before a closed window
	NoKeepalive        uint64 // in ESTABLISHED, nothing under way and no timer: nobody would notice that the peer has gone
	Outgoing           uint64 // connections from ports of the range on which nobody listens
	OutsideRange       uint64 // connections from other ports, on which nobody listens
	FullQueues         uint64 // listeners that hold one connection more than their limit, and take no more

	// Ports are the local ports that connect() chooses from.
	Ports Ports

	// Listening are the local ports with a listener, and what they have accepted,
	// by port.
	Listening []ListeningPort
	// Listeners are the listening sockets, the fullest first: Options.Listeners of
	// them. OtherListeners is how many are left out.
	Listeners      []Listener
	OtherListeners uint64 // not among Listeners

	// Destinations are where the outgoing connections lead, the most used first:
	// Options.Destinations of them, and some more that do not answer. The others
	// have at most DestinationError connections more than the last that could
	// have been here; with less than some thousand destinations it is 0.
	Destinations     []Destination
	DestinationError uint64 // see Destinations

	// CloseWait and OwnedFinWait2 are some of the sockets in those states. Which
	// ones, their cookies decide, so that later Snapshots have the same as long as
	// they exist.
	CloseWait     []Sampled
	OwnedFinWait2 []Sampled // see CloseWait

	// Settings are those of the namespace, and of its host.
	Settings Settings

	// Counters are the kernel's, by their names in /proc/net: "TcpExt.TCPTimeWaitOverflow",
	// "Tcp.ActiveOpens", "sockstat.TCP.orphan", and "nf_conntrack.drop" of stat/nf_conntrack.
	// One that is not here this kernel does not have.
	Counters map[string]int64

	// Holders are the processes that have an inode of this Snapshot open, where
	// Options.Owners asks for them and they can be seen.
	Holders map[uint32][]owner.Process
	// HoldersHidden: there are processes that could not be looked into.
	HoldersHidden bool

	// Gaps are what could not be read, and why. What depends on it is not
	// diagnosed.
	Gaps []string
}

// FinWait2 are the sockets in FIN_WAIT2: our side has closed, the peer has not.
type FinWait2 struct {
	Owned  uint64 // a process has them open, after shutdown(2); they may stay forever
	Orphan uint64 // closed, and still full sockets: tcp_fin_timeout is above 60 s, or the closing is under way
	Mini   uint64 // closed: mini-sockets, which tcp_max_tw_buckets and sockstat count as TIME_WAIT
}

// Ports are the local ports that connect() and bind(0) choose from.
type Ports struct {
	Range     sysctl.PortRange // ip_local_port_range; zero: not known
	Reserved  int              // of the range, by ip_local_reserved_ports
	Capacity  int              // the range without those
	Listening int              // of the capacity, with a listener on any address
	// BoundInactive are those of the capacity that a socket is bound to which neither
	// listens nor is connected. Kernels before 6.8 do not tell.
	BoundInactive int
	// Usable is the capacity without both of these. connect() passes over a port
	// that anybody has bound, for whatever destination. It can be too high: bound
	// sockets that went on to connect look like all others.
	Usable int
}

// ListeningPort is a local port with listeners on it, and the connections on it.
type ListeningPort struct {
	Port      uint16 // the local one
	Listeners int    // SO_REUSEPORT and different addresses allow for several
	Queued    uint64 // connections that wait for accept(2), of all of them
	Limit     uint64 // the room for those
	Full      int    // of Listeners, those that hold one connection more than their limit, and take no more

	SynRecv        uint64 // half-open connections
	SynRecvRetried uint64 // of those, the SYN-ACK sent again
	Established    uint64 // connections on the port in ESTABLISHED
	CloseWait      uint64 // in CLOSE_WAIT: the program has yet to close
	TimeWait       uint64 // we closed first
	FinWait2       uint64 // mini-sockets
}

func (p *ListeningPort) add(s *sockdiag.Socket) {
	switch s.State {
	case tcpstate.SynRecv:
		p.SynRecv++
		if s.Timer.Retransmits > 0 {
			p.SynRecvRetried++
		}
	case tcpstate.Established:
		p.Established++
	case tcpstate.CloseWait:
		p.CloseWait++
	case tcpstate.TimeWait:
		p.TimeWait++
	case tcpstate.FinWait2:
		if s.Timer.Kind == sockdiag.TimerTimeWait {
			p.FinWait2++
		}
	}
}

// Listener is a listening socket.
type Listener struct {
	Local     netip.AddrPort // what it listens on
	Interface uint32         // index of the device that it is bound to, 0 for none
	Queued    int            // connections that wait for accept(2); at most Limit + 1
	Limit     int            // listen(2)'s backlog, limited by somaxconn
	Cookie    uint64         // Socket.Cookie
	Inode     uint32         // Socket.Inode, by which package owner finds the processes
}

func (l *Listener) fullness() float64 { return float64(l.Queued) / float64(l.Limit+1) }

// Sampled is a socket that a Snapshot keeps.
type Sampled struct {
	ID        sockdiag.ID // for a Lookup
	Inode     uint32      // Socket.Inode, by which package owner finds the processes
	RecvQueue uint32      // bytes not read; the FIN counts as one
	// Since is for how long at least it has been in its state: since the peer's last
	// segment. 0 if that is not known.
	Since time.Duration
}

// Destination is a remote address and port that connections lead to, from one
// local address: what an own pool of local ports belongs to.
type Destination struct {
	Local     netip.Addr     // the local address
	Remote    netip.AddrPort // the peer's address and port
	Interface uint32         // index of the device that the sockets are bound to, mostly 0

	// Used is the connections on ports that connect() chooses from, in any state.
	// What follows is part of it.
	Used      int
	TimeWait  int  // in TIME_WAIT
	FinWait2  int  // mini-sockets in FIN_WAIT2, which are never taken over
	SynSent   int  // in SYN_SENT: no answer yet
	Silent    int  // of SynSent, SYN sent three times or more without an answer
	CloseWait int  // in CLOSE_WAIT
	Ages      Ages // of TimeWait

	// Missed: at most so many connections more than Used. It is 0 unless there are
	// thousands of destinations.
	Missed int

	Aged     int // of TimeWait, those old enough to be taken over
	Reusable int // of Aged, if the settings allow that here
	Free     int // ports that no connection to here uses
	// Headroom is Free and Reusable: how many connects succeed now. With an Interface
	// it may be more: sockets without one are in the way, and a port that has both is
	// counted twice.
	Headroom int

	// RateLimit is how many connections a second can be made for good, if this side
	// closes them first.
	RateLimit float64
	Reuse     bool // TIME_WAIT is taken over by connect() here

	Inode uint32 // of one of the connections, for finding the process; 0: none is open
}

// find returns the same destination of another Snapshot.
func (s *Snapshot) find(d *Destination) *Destination {
	for i := range s.Destinations {
		if o := &s.Destinations[i]; o.Local == d.Local && o.Remote == d.Remote && o.Interface == d.Interface {
			return o
		}
	}
	return nil
}

// Counter returns a counter, and false if this kernel does not have it.
func (s *Snapshot) Counter(name string) (value int64, ok bool) {
	value, ok = s.Counters[name]
	return value, ok
}

// finish takes over what the dump brought.
func (s *Snapshot) finish(t *tally, o *Options) {
	s.Listening = t.listening
	slices.SortFunc(s.Listening, func(a, b ListeningPort) int { return cmp.Compare(a.Port, b.Port) })
	s.Listeners = t.listeners
	slices.SortStableFunc(s.Listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(b.fullness(), a.fullness()), a.Local.Compare(b.Local))
	})
	for _, flags := range t.ports {
		if flags&(portUsable|portListening) == portUsable|portListening {
			s.Ports.Listening++
		}
	}
	s.Ports.Usable = s.Ports.Capacity - s.Ports.Listening - s.Ports.BoundInactive
	s.CloseWait, s.OwnedFinWait2 = t.closeWait.sockets, t.finWait2.sockets
	s.DestinationError = uint64(t.flows.lost)
	s.Destinations = s.destinations(t.flows.flows, o.destinations())
}
