package tcpstate_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
)

// patience is how long the kernel may take for what it does in microseconds.
const patience = time.Minute

// peer is the other end of a connection, which sends handmade segments: it does what the test says, when the test says
// so, and nothing by itself. Its address is routed to lo but is not of this host: what the kernel sends there ends on
// lo, where a packet socket reads it, and what a raw socket sends from there arrives as if from outside.
type peer struct {
	t             testing.TB
	raw, packets  int
	host          netip.Addr     // the kernel's
	local, remote netip.AddrPort // the peer's, and the kernel's socket

	iss      uint32 // the peer's SYN
	seq      uint32 // what the peer sends next
	ack      uint32 // what the peer has of the kernel, its SYN or FIN included
	clock    uint32 // for timestamps; each segment has a newer one
	stamp    uint32 // the kernel's last
	syn      uint32 // the kernel's SYN
	received []segment
}

// segment is a TCP segment that the kernel sent.
type segment struct {
	seq, ack uint32
	flags    uint8
	length   uint32 // in sequence space, SYN and FIN included
}

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

func (s segment) String() string {
	return fmt.Sprintf("%s seq %d ack %d", flagNames(s.flags), s.seq, s.ack)
}

func flagNames(flags uint8) (s string) {
	for i, c := range "FSRPA" {
		if flags&(1<<i) != 0 {
			s += string(c)
		}
	}
	return s
}

var peerAddr = netip.MustParseAddr("192.0.2.1")

// newPeer gives the calling thread's namespace, which must have lo up and nothing else, an address of its own and a peer.
func newPeer(t testing.TB, host netip.Addr, port int) *peer {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	own := netlink.NewIPNet(host.AsSlice())
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: own}); err != nil {
		t.Fatal("address:", err)
	}
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: netlink.NewIPNet(peerAddr.AsSlice()), Src: own.IP}
	if err := netlink.RouteAdd(route); err != nil {
		t.Fatal("route:", err)
	}
	p := &peer{t: t, host: host, local: netip.AddrPortFrom(peerAddr, uint16(port)), iss: 1 << 20, seq: 1 << 20, clock: 1000}
	p.raw = openSocket(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	p.packets = openSocket(t, unix.AF_PACKET, unix.SOCK_DGRAM, int(htons(unix.ETH_P_IP)))
	return p
}

func openSocket(t testing.TB, family, typ, proto int) int {
	t.Helper()
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if errors.Is(err, unix.EPERM) {
		nstest.Skip(t, "a raw socket: %v", err)
	}
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// send sends a segment with the sequence number; ACK says what the peer has.
func (p *peer) send(flags uint8, seq, acked uint32, data ...byte) {
	p.t.Helper()
	p.clock++
	if flags&ack == 0 {
		acked = 0
	}
	const size = 20 + 12
	b := make([]byte, 0, size+len(data))
	b = binary.BigEndian.AppendUint16(b, p.local.Port())
	b = binary.BigEndian.AppendUint16(b, p.remote.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, acked)
	b = append(b, size/4<<4, flags)
	b = binary.BigEndian.AppendUint16(b, 60000)                    // window
	b = append(b, 0, 0, 0, 0)                                      // checksum, urgent pointer
	b = append(b, 1, 1, 8, 10)                                     // two no-ops, timestamps
	b = binary.BigEndian.AppendUint32(b, p.clock)                  // the peer's
	b = append(binary.BigEndian.AppendUint32(b, p.stamp), data...) // the kernel's
	pseudo := append(p.local.Addr().AsSlice(), p.remote.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP)
	pseudo = append(binary.BigEndian.AppendUint16(pseudo, uint16(len(b))), b...)
	binary.BigEndian.PutUint16(b[16:], checksum(pseudo))
	p.sendIP(unix.IPPROTO_TCP, b)
}

// unreachable sends the ICMP message that the peer's host cannot be reached, about the kernel's SYN.
func (p *peer) unreachable() {
	p.t.Helper()
	b := []byte{3, 1, 0, 0, 0, 0, 0, 0}
	b = append(b, ipHeader(unix.IPPROTO_TCP, p.remote.Addr(), p.local.Addr(), 20)...)
	b = binary.BigEndian.AppendUint16(b, p.remote.Port())
	b = binary.BigEndian.AppendUint16(b, p.local.Port())
	b = binary.BigEndian.AppendUint32(b, p.syn)
	b = append(b, make([]byte, 12)...)
	b[8+20+12] = 5 << 4
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	p.sendIP(unix.IPPROTO_ICMP, b)
}

func (p *peer) sendIP(proto uint8, body []byte) {
	p.t.Helper()
	packet := append(ipHeader(proto, p.local.Addr(), p.remote.Addr(), len(body)), body...)
	if err := unix.Sendto(p.raw, packet, 0, &unix.SockaddrInet4{Addr: p.remote.Addr().As4()}); err != nil {
		p.t.Fatal(os.NewSyscallError("sendto", err))
	}
}

func ipHeader(proto uint8, from, to netip.Addr, size int) []byte {
	b := make([]byte, 12, 20)
	b[0], b[8], b[9] = 4<<4|5, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+size))
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return b
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i, v := range b {
		sum += uint32(v) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// read takes in what the kernel has sent so far.
func (p *peer) read() {
	p.t.Helper()
	for b := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(p.packets, b, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			p.t.Fatal(os.NewSyscallError("recvfrom", err))
		}
		if n < 40 || b[9] != unix.IPPROTO_TCP || netip.AddrFrom4([4]byte(b[16:])) != p.local.Addr() {
			continue // one of the peer's own
		}
		header, be := int(b[0]&15)*4, binary.BigEndian
		tcp := b[header:be.Uint16(b[2:])]
		if be.Uint16(tcp) != p.remote.Port() || be.Uint16(tcp[2:]) != p.local.Port() {
			continue
		}
		s := segment{seq: be.Uint32(tcp[4:]), ack: be.Uint32(tcp[8:]), flags: tcp[13]}
		s.length = uint32(len(tcp)) - uint32(tcp[12]>>4)*4
		if s.flags&syn != 0 {
			p.syn = s.seq
		}
		if s.flags&(syn|fin) != 0 {
			s.length++
		}
		// Every option that Linux sends before its timestamp is padded, so the first pattern is it.
		for o := tcp[20 : tcp[12]>>4*4]; len(o) >= 10; o = o[1:] {
			if o[0] == 8 && o[1] == 10 {
				p.stamp = be.Uint32(o[2:])
				break
			}
		}
		p.received = append(p.received, s)
	}
}

// take returns the next segment with these flags that the kernel sends, and forgets those before it. A segment that
// the kernel repeats can come again.
func (p *peer) take(flags uint8) segment {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		p.read()
		for i, s := range p.received {
			if s.flags&^psh == flags {
				p.received = p.received[i+1:]
				p.ack = s.seq + s.length
				return s
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the kernel sent no %s, but %v", flagNames(flags), p.received)
		}
	}
}

// reset reports whether the kernel has sent a RST, and forgets what it sent.
func (p *peer) reset() bool {
	p.t.Helper()
	p.read()
	got := p.received
	p.received = nil
	for _, s := range got {
		if s.flags&rst != 0 {
			return true
		}
	}
	return false
}
