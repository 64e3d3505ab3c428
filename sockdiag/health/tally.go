package health

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// timeWaitTime is how long TIME_WAIT lasts, a constant of the kernel.
const timeWaitTime = 60 * time.Second

// Ages are TIME_WAIT sockets by how long ago they were entered, or last restarted
// by a segment of the peer's: [0] in the last ten seconds, [5] fifty to sixty
// seconds ago and before.
type Ages [6]uint32

const ageStep = timeWaitTime / 6

func (a *Ages) add(age time.Duration) {
	a[min(max(int(age/ageStep), 0), len(a)-1)]++
}

// flowCounts counts the rows of a flow.
type flowCounts struct {
	used      uint32 // rows on ports that connect() chooses from
	timeWait  uint32
	aged      uint32 // of those, old enough to be taken over
	finWait2  uint32 // mini-sockets in FIN_WAIT2
	synSent   uint32
	unheard   uint32 // of those, SYN sent three times or more
	closeWait uint32
	inode     uint32 // of one of the sockets that a process has open, 0 if none has
	ages      Ages
}

// The properties of a local port.
const (
	portUsable    = 1 << iota // connect() chooses from it
	portListening             // somebody listens
	portBound                 // somebody has bound it, and neither listens nor is connected
)

// tally takes the rows of a dump. Listeners must have come before the others.
type tally struct {
	snapshot *Snapshot
	delay    time.Duration
	anyPort  bool // the port range is not known

	ports     [1 << 16]uint8
	index     [1 << 16]uint16 // where portListening: of listening
	listening []ListeningPort
	listeners []Listener
	most      int // listeners to keep
	flows     *summary
	closeWait sample
	finWait2  sample
}

// listener takes one in state LISTEN.
func (t *tally) listener(s *sockdiag.Socket) {
	queued, limit, ok := s.Backlog()
	if !ok {
		return
	}
	t.snapshot.Counts.Add(tcpstate.Listen, 1)
	port := s.Local.Port()
	if t.ports[port]&portListening == 0 {
		t.ports[port] |= portListening
		t.index[port] = uint16(len(t.listening)) // at most 65,535 ports are not 0
		t.listening = append(t.listening, ListeningPort{Port: port})
	}
	p := &t.listening[t.index[port]]
	p.Listeners++
	p.Queued += uint64(queued)
	p.Limit += uint64(limit)
	if queued > limit {
		t.snapshot.FullQueues++
		p.Full++
	}
	t.keep(Listener{Local: plain(s.Local), Interface: s.Interface, Queued: queued, Limit: limit, Cookie: s.Cookie, Inode: s.Inode})
}

// keep keeps the fullest listeners.
func (t *tally) keep(l Listener) {
	if len(t.listeners) < t.most {
		t.listeners = append(t.listeners, l)
		return
	}
	t.snapshot.OtherListeners++
	// Few hosts have so many, and their queues are mostly empty.
	if l.Queued == 0 {
		return
	}
	least := 0
	for i := range t.listeners {
		if t.listeners[i].fullness() < t.listeners[least].fullness() {
			least = i
		}
	}
	if l.fullness() > t.listeners[least].fullness() {
		t.listeners[least] = l
	}
}

// row takes a socket in any other state.
func (t *tally) row(s *sockdiag.Socket) {
	n := t.snapshot
	n.Counts.Add(s.State, 1)
	mini := s.Timer.Kind == sockdiag.TimerTimeWait
	switch s.State {
	case tcpstate.BoundInactive:
		t.bound(s.Local.Port())
		return
	case tcpstate.Established:
		if s.Timer.Kind == sockdiag.TimerNone {
			n.NoKeepalive++
		}
	case tcpstate.FinWait2:
		switch {
		case mini:
			n.FinWait2.Mini++
		case s.Inode == 0:
			n.FinWait2.Orphan++
		default:
			n.FinWait2.Owned++
			t.finWait2.add(s)
		}
	case tcpstate.FinWait1:
		switch {
		case s.Timer.Kind == sockdiag.TimerProbe:
			n.FinWait1Probing++
		case s.Timer.Retransmits >= 3:
			n.FinWait1Unanswered++
		}
	case tcpstate.LastAck:
		if s.Timer.Retransmits >= 3 || s.Timer.Kind == sockdiag.TimerProbe {
			n.LastAckUnanswered++
		}
	case tcpstate.CloseWait:
		// What the kernel has not been asked to close yet, and what waits to be
		// accepted, which is another trouble.
		if s.Inode != 0 {
			n.CloseWaitOwned++
			t.closeWait.add(s)
		}
	}

	port := s.Local.Port()
	flags := t.ports[port]
	if flags&portListening != 0 {
		t.listening[t.index[port]].add(s)
		return
	}
	if flags&portUsable == 0 && !t.anyPort {
		n.OutsideRange++
		return
	}
	n.Outgoing++
	key := makeKey(s)
	f := t.flows.at(&key)
	if flags&portBound == 0 {
		f.used++
	}
	if s.Inode != 0 {
		f.inode = s.Inode
	}
	switch s.State {
	case tcpstate.TimeWait:
		f.timeWait++
		age := timeWaitTime - s.Timer.Expires
		if age > t.delay && flags&portBound == 0 {
			f.aged++
		}
		f.ages.add(age)
	case tcpstate.FinWait2:
		if mini {
			f.finWait2++
		}
	case tcpstate.SynSent:
		f.synSent++
		if s.Timer.Retransmits >= 2 {
			f.unheard++
		}
	case tcpstate.CloseWait:
		f.closeWait++
	}
}

// bound takes a port that is bound, and neither listens nor is connected.
func (t *tally) bound(port uint16) {
	if t.ports[port]&(portBound|portUsable) == portUsable {
		t.snapshot.Ports.BoundInactive++
	}
	t.ports[port] |= portBound
}

func makeKey(s *sockdiag.Socket) (k flowKey) {
	k[0], k[1] = words(s.Local.Addr())
	k[2], k[3] = words(s.Remote.Addr())
	k[4] = uint64(s.Interface)<<16 | uint64(s.Remote.Port())
	return k
}

func words(a netip.Addr) (high, low uint64) {
	if a.Is4() { // faster
		b := a.As4()
		return 0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// parts is the reverse of makeKey.
func (k *flowKey) parts() (local netip.Addr, remote netip.AddrPort, device uint32) {
	return addr(k[0], k[1]), netip.AddrPortFrom(addr(k[2], k[3]), uint16(k[4])), uint32(k[4] >> 16)
}

func addr(high, low uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b).Unmap()
}

// plain writes an IPv4-mapped address as the IPv4 address that it is on the wire.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// sample keeps some of the sockets of a kind. Which ones depends on their cookies
// alone: those with the lowest hashes. So two snapshots have the same ones of those
// that are in both, and one that is missing later is gone.
type sample struct {
	sockets []Sampled
	hashes  []uint64
	worst   int
}

func (m *sample) add(s *sockdiag.Socket) {
	h := mix(s.Cookie)
	switch {
	case len(m.sockets) < cap(m.sockets):
		m.sockets, m.hashes = append(m.sockets, Sampled{}), append(m.hashes, h)
		m.worst = len(m.sockets) - 1
	case cap(m.sockets) == 0 || h >= m.hashes[m.worst]:
		return
	}
	m.hashes[m.worst] = h
	m.sockets[m.worst] = Sampled{ID: s.ID(), Inode: s.Inode, RecvQueue: s.RecvQueue}
	for i, h := range m.hashes {
		if h > m.hashes[m.worst] {
			m.worst = i
		}
	}
}

func newSample(n int) sample {
	return sample{sockets: make([]Sampled, 0, n), hashes: make([]uint64, 0, n)}
}

// mix is the finisher of SplitMix64: close numbers come out far from each other.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
