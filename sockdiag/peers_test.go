package sockdiag

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Other programs that speak this protocol got parts of it wrong, each in a way that
// nobody noticed for years: their own tests had the mistake in them, too. Here, in
// peers_linux_test.go, and in the tests named below, each is tried on this package.
// The other programs are named for who wants to compare; they may have changed since.
//
//	the mistake, and where it was seen                          tried by
//
//	The wire
//	snd_wscale and rcv_wscale swapped (vishvananda/netlink),    TestTCPInfoBitFields: what C compilers make of them;
//	  or both the same (pyroute2)                               TestPeersLiveWindowScale: what ss says
//	app_limited, fastopen_client_fail from the wrong end        TestTCPInfoBitFields, TestPeersLiveAppLimited
//	  (vishvananda/netlink)
//	tcp_info read up to snd_wnd and no further                  TestBTFTCPInfoMembers: the running kernel's own layout
//	  (vishvananda/netlink, m-lab/tcp-info)
//	a longer or shorter tcp_info an error, or a panic           TestTCPInfoLengths, TestPeersAttributeLengths,
//	  (rust netlink-packet-sock-diag, m-lab/tcp-info)           TestPeersShortBytes
//	"not sent" not told from zero (most)                        TestTCPInfoLengths: Has
//	BBR info of another length an error (vishvananda/netlink)   TestPeersAttributeLengths
//	one unknown attribute an error for all (florianl/go-diag)   TestPeersUnknownAttribute, TestPeersLiveGoListener
//	numbers of 64 bits where the kernel does not align them     TestPeersUnaligned
//	CLASS_ID cut to a byte (m-lab/tcp-info)                     TestPeersWholeNumbers, TestPeersLiveClassID
//	counters of 64 bits with a sign (m-lab/tcp-info)            TestBTFTCPInfoMembers: all bits set
//	the interface's index in network order (m-lab/tcp-info)     TestPeersWholeNumbers, TestLookupInterface
//	ports in network order (florianl/go-diag), or signed        TestPeersPorts
//	  (m-lab/tcp-info)
//	127.0.0.9 as 7f00:9:: (florianl/go-diag), 2001:db8:: as     TestPeersAddresses, TestPeersLiveAddresses
//	  32.1.13.184 and [::] as 0.0.0.0 (m-lab/tcp-info)
//	a short message a panic (florianl/go-diag), or cast         TestPeersShortBytes, TestDumpFaults, FuzzDecodeSocket
//	  without a look at its length (node_exporter)
//	congestion control known by four prefixes (xtcp2)           TestPeersCongestionNames, TestPeersLiveCongestion
//	timers without their time, or unknown (rust)                TestPeersTimers
//	SCTP's info read as tcp_info (florianl/go-diag)             TestDecodeInfoOfOtherProtocols, TestDecodeCapturesSCTP
//	right on little-endian machines alone (xtcp2)               all tests of decoding, on s390x
//
//	The dump
//	a row that does not decode ends it, without an error        TestPeersShortListIsAnError
//	  (vishvananda/netlink)
//	NLMSG_ERROR handed out as a record (m-lab/tcp-info), or     TestPeersErrorIsNoRow
//	  skipped, and waited on for ever (xtcp2, cilium)
//	an errno in NLMSG_DONE not looked at (netdata)              TestDumpFaults
//	NLM_F_DUMP_INTR not looked at (florianl/go-diag)            TestDumpFaults
//	truncated datagrams decoded (vishvananda/netlink)           TestDumpFaults, TestDumpGrowsBuffer
//	addresses that change with the receive buffer (xtcp2), or   TestPeersKeptSockets
//	  keep it in memory (vishvananda/netlink)
//	errors of sending ignored (cilium)                          TestDialAndSendErrors
//	no way to end a dump that hangs (florianl/go-diag)          TestSilentKernel, TestEndBeforeRows
//	listeners lost behind one with many TCP-MD5 keys (all)      TestManyMD5Keys, TestListenersThatDoNotFit
//
//	The question
//	extension bits off by one (elastic/gosigar)                 TestPeersExtensionBits; TestAttributeTable: each alone
//	CLASS_ID thought to come unasked (xtcp2)                    TestPeersExtensionBits, TestPeersLiveClassID
//	tcp_info asked for to count sockets (node_exporter) or to   TestPeersAsksForNoMore
//	  read headers (vishvananda/netlink)
//	TIME_WAIT, SYN_RECV, CLOSE left out (m-lab/tcp-info)        TestPeersStates, TestStates
//	own states 12 and 13, which the kernel has (node_exporter)  TestPeersStates, TestRowStates
//	IPv4 alone (xtcp2), one family at a time (most)             TestFamilies, TestPeersLiveHeaders
//	an option accepted and ignored (florianl/go-diag)           TestPeersEveryOptionCounts
//	the wrong namespace asked (vishvananda/netlink)             TestPeersLiveEmptyNamespace, TestNamespaceOfTheDial
//	an exact lookup that finds another socket                   TestPeersLiveLookup, TestLookupOtherSocket,
//	  (vishvananda/netlink)                                     TestLookupNeverFallsBackToTheListener
//	sockets destroyed by addresses alone, IPv4 alone            TestPeersDestroy, TestDestroySparesTheListener,
//	  (vishvananda/netlink), the answer not waited for (cilium) TestDestroyStates
//
//	What it means
//	a listener's queues added up as bytes (node_exporter)       TestPeersBacklog, TestStates
//	TCP-MD5 keys printed (ss)                                   TestMD5KeysAreRedacted

// Every type of attribute that has no field here is kept, between others that have
// one. florianl/go-diag lost all sockets to one Go listener's INET_DIAG_ULP_INFO.
func TestPeersUnknownAttribute(t *testing.T) {
	before, behind := attribute(uapi.InetDiagTOS, []byte{0x10}), attribute(uapi.InetDiagMark, inBytes(t, uint32(7)))
	for typ := range uint16(uapi.NLATypeMask + 1) {
		if typ <= uapi.InetDiagSockOpt && typ != 0 {
			continue
		}
		s, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, before, attribute(typ, []byte("new")), behind))
		if err != nil || s.TOS != 0x10 || s.Mark != 7 {
			t.Fatalf("type %d: TOS %#x, mark %d, %v", typ, s.TOS, s.Mark, err)
		}
		if want := []RawAttr{{Type: typ, Data: []byte("new")}}; s.Extra == nil || !reflect.DeepEqual(s.Extra.Unknown, want) {
			t.Fatalf("type %d: %+v", typ, s.Extra)
		}
	}
}

// An attribute that has grown is read as far as it is known, and one that is cut
// short is an error, not zeros. vishvananda/netlink takes BBR info of 20 bytes and
// no other.
func TestPeersAttributeLengths(t *testing.T) {
	for _, tt := range []struct {
		typ  uint16
		size int // of the oldest kernel that has it
	}{
		{uapi.InetDiagMemInfo, 16}, {uapi.InetDiagVegasInfo, 16}, {uapi.InetDiagTOS, 1}, {uapi.InetDiagTClass, 1},
		{uapi.InetDiagSKMemInfo, 32}, {uapi.InetDiagShutdown, 1}, {uapi.InetDiagDCTCPInfo, 16}, {uapi.InetDiagProtocol, 1},
		{uapi.InetDiagSKV6Only, 1}, {uapi.InetDiagMark, 4}, {uapi.InetDiagBBRInfo, 20}, {uapi.InetDiagClassID, 4},
		{uapi.InetDiagCgroupID, 8}, {uapi.InetDiagSockOpt, 2},
	} {
		full := bytes.Repeat([]byte{1}, tt.size)
		want, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(tt.typ, full)))
		if err != nil || reflect.DeepEqual(want, Socket{}) {
			t.Errorf("type %d, %d bytes: %v", tt.typ, tt.size, err)
		}
		for _, more := range []int{1, 4, 100} {
			if tt.typ == uapi.InetDiagSKMemInfo && more >= 4 {
				continue // has grown: TestDecodeSocket
			}
			got, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(tt.typ, append(slices.Clone(full), make([]byte, more)...))))
			if err != nil || !same(got, want) {
				t.Errorf("type %d, %d bytes more: %v\n got %+v\nwant %+v", tt.typ, more, err, got, want)
			}
		}
		for n := range tt.size {
			var short *DecodeError
			if _, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(tt.typ, full[:n]))); !errors.As(err, &short) {
				t.Errorf("type %d, %d of %d bytes: %v", tt.typ, n, tt.size, err)
			}
		}
	}
	// The infos of protocols are as long as the kernel is new, in either direction.
	for _, p := range []Protocol{TCP, MPTCP, SCTP} {
		for n := range 1024 {
			if _, err := DecodeSocket(p, diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagInfo, make([]byte, n)))); err != nil {
				t.Errorf("%v, %d bytes: %v", p, n, err)
			}
		}
	}
}

// Rows that kernels sent, cut at every byte: an error, or what was whole before the
// cut. Never a panic, as in florianl/go-diag and m-lab/tcp-info.
func TestPeersShortBytes(t *testing.T) {
	for _, k := range recordings(t) {
		seen := map[string]bool{} // one row of each kind suffices
		for i := range k.Captures {
			c := &k.Captures[i]
			p := Protocol(c.Protocol())
			for _, payload := range payloadsOf(t, k, c) {
				whole, err := DecodeSocket(p, payload)
				if err != nil {
					t.Fatal(err)
				}
				kind := fmt.Sprint(p, whole.Attrs)
				if seen[kind] {
					continue
				}
				seen[kind] = true
				for n := range payload {
					cut, err := DecodeSocket(p, bytes.Clone(payload[:n]))
					var short *DecodeError
					if err == nil && (n < uapi.SizeofInetDiagMsg || !whole.Attrs.Has(cut.Attrs) || cut.Cookie != whole.Cookie) {
						t.Errorf("%s: %d of %d bytes of %s: attributes %v", k.Kernel, n, len(payload), kind, cut.Attrs)
					}
					if err != nil && (!errors.As(err, &short) || !reflect.DeepEqual(cut, Socket{})) {
						t.Errorf("%s: %d of %d bytes of %s: %v with %+v", k.Kernel, n, len(payload), kind, err, cut)
					}
				}
			}
		}
		if len(seen) < 10 {
			t.Errorf("%s: only %d kinds of rows", k.Kernel, len(seen))
		}
	}
}

// The kernel aligns attributes to four bytes, and numbers of eight with them; one
// that cannot load those puts an empty INET_DIAG_PAD before them.
func TestPeersUnaligned(t *testing.T) {
	cgroup := attribute(uapi.InetDiagCgroupID, inBytes(t, uint64(1<<63|5)))
	info := attribute(uapi.InetDiagInfo, bytes.Repeat([]byte{0x11}, 280))
	pad, shutdown := attribute(uapi.InetDiagPad, nil), attribute(uapi.InetDiagShutdown, []byte{1})
	for _, attrs := range [][][]byte{{cgroup, info}, {pad, cgroup, pad, info}, {shutdown, cgroup, pad, info}, {pad, info, shutdown, cgroup, pad}} {
		for shift := range 8 {
			b := append(make([]byte, shift), diagMessage(1, 1, 2, 3, attrs...)...)
			s, err := DecodeSocket(TCP, b[shift:])
			if err != nil || s.CgroupID != 1<<63|5 || s.TCPInfo.BytesAcked != 0x1111111111111111 || s.TCPInfo.RTO != 0x11111111*time.Microsecond {
				t.Errorf("shifted by %d: cgroup %#x, %d bytes acknowledged, %v", shift, s.CgroupID, s.TCPInfo.BytesAcked, err)
			}
			if s.Attrs.Has(1<<uapi.InetDiagPad) || s.Extra != nil {
				t.Errorf("the padding shows: %v, %+v", s.Attrs, s.Extra)
			}
		}
	}
}

// No number is cut, or read in the wrong order. In m-lab/tcp-info a class is one
// byte, and interface 2 is 33554432.
func TestPeersWholeNumbers(t *testing.T) {
	row := diagMessage(1, 1, 2, 0x8877665544332211,
		attribute(uapi.InetDiagClassID, inBytes(t, uint32(0x89abcdef))), attribute(uapi.InetDiagMark, inBytes(t, uint32(0x81828384))),
		attribute(uapi.InetDiagCgroupID, inBytes(t, uint64(0xf1f2f3f4f5f6f7f8))))
	for at, v := range map[int]uint32{40: 2, 52: 1 << 30, 56: 0xf0000001, 60: 0xf0000002, 64: 0xf0000003, 68: 0xf0000004} {
		ne.PutUint32(row[at:], v)
	}
	row[2] = uapi.TimerOn
	s, err := DecodeSocket(TCP, row)
	if err != nil {
		t.Fatal(err)
	}
	if s.Interface != 2 || s.Timer.Expires != (1<<30)*time.Millisecond || s.Cookie != 0x8877665544332211 {
		t.Errorf("interface %d, timer %v, cookie %#x", s.Interface, s.Timer, s.Cookie)
	}
	if s.RecvQueue != 0xf0000001 || s.SendQueue != 0xf0000002 || s.UID != 0xf0000003 || s.Inode != 0xf0000004 {
		t.Errorf("queues %#x %#x, user %#x, inode %#x", s.RecvQueue, s.SendQueue, s.UID, s.Inode)
	}
	if s.ClassID != 0x89abcdef || s.Mark != 0x81828384 || s.CgroupID != 0xf1f2f3f4f5f6f7f8 {
		t.Errorf("class %#x, mark %#x, cgroup %#x", s.ClassID, s.Mark, s.CgroupID)
	}
}

// Every port is itself, at either end. m-lab/tcp-info reads them with 15 bits,
// florianl/go-diag leaves them in network order.
func TestPeersPorts(t *testing.T) {
	for port := range 1 << 16 {
		other := uint16(port + 1)
		s, err := DecodeSocket(TCP, diagMessage(1, uint16(port), other, 3))
		if err != nil || s.Local.Port() != uint16(port) || s.Remote.Port() != other {
			t.Fatalf("%v to %v, %v; want ports %d and %d", s.Local, s.Remote, err, port, other)
		}
	}
}

// Addresses print as what they are, by the socket's family.
func TestPeersAddresses(t *testing.T) {
	for address, family := range map[string]Family{
		"127.0.0.9": IPv4, "0.0.0.0": IPv4, "255.255.255.255": IPv4,
		"2001:db8::": IPv6, "::": IPv6, "::1": IPv6, "::ffff:127.0.0.9": IPv6, "7f00:9::": IPv6,
	} {
		row := diagMessage(1, 80, 443, 3)
		row[0] = uint8(family)
		clear(row[8:40])
		copy(row[8:], netip.MustParseAddr(address).AsSlice())
		copy(row[24:], netip.MustParseAddr(address).AsSlice())
		s, err := DecodeSocket(TCP, row)
		want := netip.MustParseAddr(address)
		if err != nil || s.Family != family || s.Local != netip.AddrPortFrom(want, 80) || s.Remote != netip.AddrPortFrom(want, 443) || s.Local.Addr().String() != address {
			t.Errorf("%s: %v %v to %v, %v", address, s.Family, s.Local, s.Remote, err)
		}
	}
}

// An algorithm's name is whatever the kernel says, for a module or a BPF program can
// be called anything. xtcp2 knows four prefixes, and reno is none of them.
func TestPeersCongestionNames(t *testing.T) {
	var s Socket
	for _, name := range []string{"reno", "cubic", "cubic2", "bbr", "bbr3", "dctcp", "vegas", "", "x", "bpf_dctcp", "fifteen_letters"} {
		// In turn over one Socket: no name outlasts its row.
		if err := s.decode(TCP, diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagCong, append([]byte(name), 0))), false); err != nil || s.Congestion != name {
			t.Errorf("%q, %v; want %q", s.Congestion, err, name)
		}
	}
}

// A timer keeps its time and its number, whichever it is. In rust's
// netlink-packet-sock-diag TIME_WAIT has no time, and the delayed ACK is none.
func TestPeersTimers(t *testing.T) {
	for n := range 256 {
		row := diagMessage(tcpstate.TimeWait, 1, 2, 3)
		row[2] = uint8(n)
		ne.PutUint32(row[52:], 42_000)
		s, err := DecodeSocket(TCP, row)
		want := Timer{Kind: TimerKind(n), Expires: 42 * time.Second}
		if n == uapi.TimerOff {
			want.Expires = 0 // there is none
		}
		if err != nil || s.Timer != want {
			t.Errorf("timer %d: %+v, %v", n, s.Timer, err)
		}
		if left, ok := s.TimeWait(); ok != (n == uapi.TimerTimeWait) || ok && left != 42*time.Second {
			t.Errorf("timer %d: TimeWait %v, %v", n, left, ok)
		}
	}
}

// A row that does not decode ends the dump with an error, wherever it is, behind the
// rows before it. In vishvananda/netlink the list is short, and the error nil.
func TestPeersShortListIsAnError(t *testing.T) {
	const n = 5
	for broken := range n {
		for _, q := range []Query{{}, {Attrs: AttrTCPInfo}, {States: tcpstate.Listen.Set(), Attrs: AttrTCPInfo}} {
			k := &fakeKernel{answerTo: func(request []byte) []datagram {
				seq := ne.Uint32(request[8:])
				states := tcpstate.Set(ne.Uint32(request[16+52:]))
				var d datagram
				for i := range n {
					bbr := make([]byte, 20)
					if i == broken {
						bbr = bbr[:19]
					}
					state := tcpstate.Established
					if q.States != 0 {
						state = tcpstate.Listen
					}
					if states.Has(state) {
						d = join(d.data, netlinkMessage(uapi.TCPDiagGetSock, 2, seq, diagMessage(state, 1, 2, uint64(i+1), attribute(uapi.InetDiagBBRInfo, bbr))))
					}
				}
				return []datagram{d, done(seq)}
			}}
			got, err := cookies(t, k.client(t), t.Context(), q)
			var short *DecodeError
			if len(got) != broken || !errors.As(err, &short) || short.What != "INET_DIAG_BBRINFO" {
				t.Errorf("%+v, row %d broken: %d rows, error %v", q, broken, len(got), err)
			}
		}
	}
}

// The kernel's NLMSG_ERROR is an error, of every call, and ends it: nothing comes
// after it, least of all an NLMSG_DONE. m-lab/tcp-info returns it as a socket, xtcp2
// and cilium wait on.
func TestPeersErrorIsNoRow(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EPERM, syscall.ENOMEM, syscall.EOPNOTSUPP, syscall.EBUSY} {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			return []datagram{{data: kernelSays(uapi.NLMsgError, seq, errno)}}
		}}
		c := k.client(t)
		id := someID
		id.Cookie = 7
		for name, call := range map[string]func() (rows int, err error){
			"Dump": func() (int, error) {
				got, err := Collect(c.Dump(t.Context(), Query{}))
				return len(got), err
			},
			"Dump with listeners": func() (int, error) {
				got, err := Collect(c.Dump(t.Context(), Query{Attrs: AttrTCPInfo}))
				return len(got), err
			},
			"Count": func() (int, error) {
				got, err := c.Count(t.Context(), Query{})
				return int(got.Total()), err
			},
			"Lookup": func() (int, error) {
				s, err := c.Lookup(t.Context(), id, 0)
				if !reflect.DeepEqual(s, Socket{}) {
					return 1, err
				}
				return 0, err
			},
			"Destroy": func() (int, error) { return 0, c.Destroy(t.Context(), id) },
		} {
			if rows, err := call(); rows != 0 || !errors.Is(err, errno) {
				t.Errorf("%s: %d rows, error %v; want %v", name, rows, err, errno)
			}
		}
	}
}

// What a Socket holds stays as it is while its Client goes on reading into the same
// buffer. In xtcp2 the addresses of earlier rows became those of later ones.
func TestPeersKeptSockets(t *testing.T) {
	key := make([]byte, uapi.SizeofMD5Sig)
	fill := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	row := func(b byte) []byte {
		copy(key, inBytes(t, uint8(2), uint8(32), uint16(4), fill(b, 16), fill(b, 80)))
		m := diagMessage(tcpstate.Established, 1, 2, 3,
			attribute(uapi.InetDiagInfo, fill(b, 280)), attribute(uapi.InetDiagCong, append(fill('a'+b, 9), 0)),
			attribute(uapi.InetDiagMD5Sig, key), attribute(uapi.InetDiagULPInfo, attribute(uapi.ULPInfoName, append(fill('a'+b, 9), 0))),
			attribute(uapi.InetDiagSKBPFStorages, attribute(uapi.SKDiagBPFStorage, attribute(uapi.SKDiagBPFStorageMapValue, fill(b, 12)))),
			attribute(uapi.InetDiagLocals, fill(b, 128)), attribute(50, fill(b, 9)))
		m[0] = uapi.AFInet6
		copy(m[8:40], fill(b, 32))
		return m
	}
	k := &fakeKernel{answer: func(seq uint32, nth int) []datagram {
		b := byte(2 * nth) // other bytes in the same places
		return []datagram{
			join(netlinkMessage(uapi.TCPDiagGetSock, 2, seq, row(b))), join(netlinkMessage(uapi.TCPDiagGetSock, 2, seq, row(b+1))), done(seq),
		}
	}}
	c := k.client(t)
	var kept []Socket
	for range 4 {
		rows, err := Collect(c.Dump(t.Context(), Query{Attrs: AttrUnknown}))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, rows...)
	}
	if len(kept) != 8 || len(k.sockets) != 1 {
		t.Fatalf("%d sockets, over %d of the kernel's", len(kept), len(k.sockets))
	}
	for i, s := range kept {
		want, err := DecodeSocket(TCP, row(byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		if !same(s, want) {
			t.Errorf("socket %d has changed:\n now %+v %+v\nwant %+v %+v", i, s, s.Extra, want, want.Extra)
		}
		if string(s.Extra.MD5Keys[0].Secret.Reveal()) != string(fill(byte(i), 4)) {
			t.Errorf("socket %d: its key has changed", i)
		}
	}
}

// Each attribute is asked for by the bit one below its number. elastic/gosigar's are
// one too high: who asked for memory got tcp_info.
func TestPeersExtensionBits(t *testing.T) {
	// From the comments in linux/inet_diag.h: what shares a bit, and what has none.
	with := map[uint16]uint16{
		uapi.InetDiagClassID: uapi.InetDiagTClass, uapi.InetDiagDCTCPInfo: uapi.InetDiagVegasInfo, uapi.InetDiagBBRInfo: uapi.InetDiagVegasInfo,
		uapi.InetDiagMD5Sig: uapi.InetDiagInfo, uapi.InetDiagULPInfo: uapi.InetDiagInfo,
	}
	for n := uint16(1); n < 64; n++ {
		want := uint8(0)
		if bit, ok := with[n]; ok {
			want = 1 << (bit - 1)
		} else if n <= 8 {
			want = 1 << (n - 1)
		}
		if got := (Attrs(1) << n).extension(); got != want {
			t.Errorf("%v: extension %#x, want %#x", Attrs(1)<<n, got, want)
		}
	}
}

// sent returns the requests that a call makes of a kernel without sockets.
func sent(t *testing.T, call func(*Client) error) (requests [][]byte) {
	t.Helper()
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{done(seq)} }}
	if err := call(k.client(t)); err != nil {
		t.Fatal(err)
	}
	for _, r := range k.requests {
		if !primes(r) {
			ne.PutUint32(r[8:], 0) // the sequence number
			requests = append(requests, r)
		}
	}
	return requests
}

// To count, and to read headers, nothing is asked for: tcp_info makes the kernel
// lock each socket.
func TestPeersAsksForNoMore(t *testing.T) {
	for name, call := range map[string]func(*Client) error{
		"Dump": func(c *Client) error { _, err := Collect(c.Dump(t.Context(), Query{})); return err },
		"Count": func(c *Client) error {
			_, err := c.Count(t.Context(), Query{Attrs: AttrTCPInfo | AttrMemInfo | AttrBPFStorages})
			return err
		},
	} {
		for _, r := range sent(t, call) {
			if ext := r[16+3]; ne.Uint16(r[4:]) != uapi.TCPDiagGetSock || ext != 0 || len(r) != uapi.SizeofNLMsgHdr+uapi.SizeofInetDiagReq {
				t.Errorf("%s: extension %#x in %x", name, ext, r)
			}
		}
	}
}

// No state is left out of a Query that names none, and each alone is its own bit,
// also the two that look like others. m-lab/tcp-info never sees TIME_WAIT, SYN_RECV
// and CLOSE, and node_exporter has own meanings for 12 and 13.
func TestPeersStates(t *testing.T) {
	mask := func(s tcpstate.Set) uint32 {
		requests := sent(t, func(c *Client) error { _, err := Collect(c.Dump(t.Context(), Query{States: s})); return err })
		return ne.Uint32(requests[0][16+52:])
	}
	if got := mask(0); got != 0xffffffff {
		t.Errorf("no state named: %#x", got)
	}
	// From net/tcp_states.h.
	numbers := []tcpstate.State{1: tcpstate.Established, tcpstate.SynSent, tcpstate.SynRecv, tcpstate.FinWait1, tcpstate.FinWait2, tcpstate.TimeWait,
		tcpstate.Closed, tcpstate.CloseWait, tcpstate.LastAck, tcpstate.Listen, tcpstate.Closing, tcpstate.NewSynRecv, tcpstate.BoundInactive}
	for n, s := range numbers[1:] {
		if got := mask(s.Set()); got != 1<<(n+1) {
			t.Errorf("%v: %#x", s, got)
		}
	}
}

// Whatever can be set in a Query changes what the kernel is asked or what is kept of
// its answer. florianl/go-diag has an option that is never read.
func TestPeersEveryOptionCounts(t *testing.T) {
	queries := map[string]Query{
		"Family":   {Family: IPv6},
		"Protocol": {Protocol: UDP},
		"States":   {States: tcpstate.TimeWait.Set()},
		"Filter":   {Filter: LocalPort(80, 80)},
		"Attrs":    {Attrs: AttrMemInfo},
	}
	ask := func(q Query) string {
		return fmt.Sprintf("%x", sent(t, func(c *Client) error { _, err := Collect(c.Dump(t.Context(), q)); return err }))
	}
	plain := ask(Query{})
	for i := range reflect.TypeFor[Query]().NumField() {
		name := reflect.TypeFor[Query]().Field(i).Name
		q, ok := queries[name]
		if !ok {
			t.Errorf("nothing is known of Query.%s", name)
			continue
		}
		if got := ask(q); got == plain {
			t.Errorf("Query.%s changes nothing: %s", name, got)
		}
	}
}

// Destroy takes a cookie, goes by the ID's family and protocol, and waits for the
// kernel's answer, which comes only if it is asked for.
func TestPeersDestroy(t *testing.T) {
	six := ID{Local: netip.MustParseAddrPort("[::1]:1000"), Remote: netip.MustParseAddrPort("[::1]:2000")}
	udp := someID
	udp.Protocol = UDP
	for _, id := range []ID{someID, six, udp} {
		k := exactly(func(seq uint32) []byte { return kernelSays(uapi.NLMsgError, seq, 0) })
		c := k.client(t)
		if err := c.Destroy(t.Context(), id); !errors.Is(err, fs.ErrInvalid) || len(k.requests) != 0 {
			t.Errorf("without a cookie: %v, %d requests", err, len(k.requests))
		}
		id.Cookie = 1<<40 | 7
		if err := c.Destroy(t.Context(), id); err != nil {
			t.Error(err)
		}
		r := k.requests[len(k.requests)-1]
		if typ, flags := ne.Uint16(r[4:]), ne.Uint16(r[6:]); typ != uapi.SockDestroy || flags != uapi.NLMFRequest|uapi.NLMFAck {
			t.Errorf("type %d, flags %#x", typ, flags)
		}
		family := uint8(IPv4)
		if id.Local.Addr().Is6() {
			family = uint8(IPv6)
		}
		if r[16] != family || Protocol(r[17]) != max(id.Protocol, TCP) || ne.Uint32(r[16+8+40:]) != 7 || ne.Uint32(r[16+8+44:]) != 1<<8 {
			t.Errorf("%+v: %x", id, r)
		}
		k = exactly(func(seq uint32) []byte { return kernelSays(uapi.NLMsgError, seq, syscall.ENOENT) })
		if err := k.client(t).Destroy(t.Context(), id); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("of a socket that is gone: %v", err)
		}
	}
}

// The queues of a listener are connections, not bytes, and Backlog tells them so.
// node_exporter adds a backlog of 4096 up as bytes to send.
func TestPeersBacklog(t *testing.T) {
	for state := range tcpstate.State(14) {
		row := diagMessage(state, 1, 0, 3)
		ne.PutUint32(row[56:], 3)
		ne.PutUint32(row[60:], 4096)
		s, err := DecodeSocket(TCP, row)
		queued, limit, ok := s.Backlog()
		if err != nil || ok != (state == tcpstate.Listen) || ok && (queued != 3 || limit != 4096) {
			t.Errorf("%v: Backlog %d of %d, %v, %v", state, queued, limit, ok, err)
		}
	}
}

// The table above names tests that exist.
func TestPeersTable(t *testing.T) {
	files, err := fs.Glob(os.DirFS("."), "*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	_, table, _ := strings.Cut(source.String(), "the mistake, and where it was seen")
	table, _, _ = strings.Cut(table, "\nfunc ")
	names := 0
	for word := range strings.FieldsFuncSeq(table, func(r rune) bool { return strings.ContainsRune(" \t\n,;:", r) }) {
		if strings.HasPrefix(word, "Test") || strings.HasPrefix(word, "Fuzz") {
			names++
			if !strings.Contains(source.String(), "\nfunc "+word+"(") {
				t.Errorf("there is no %s", word)
			}
		}
	}
	if names < 50 {
		t.Errorf("only %d tests named", names)
	}
}
