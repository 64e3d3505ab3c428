package sockdiag

import (
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/capture"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// recordings are the kernels that were recorded, or a skip by name on a machine
// of the other byte order, whose kernels speak in its own.
func recordings(t testing.TB) []*capture.Kernel {
	t.Helper()
	kernels, err := capture.LoadAll(os.DirFS("testdata"), "captures")
	if err != nil {
		t.Fatal(err)
	}
	if len(kernels) < 6 {
		t.Fatalf("only %d kernels", len(kernels))
	}
	if !kernels[0].HostOrder() {
		t.Skip("missing: recordings of big-endian kernels")
	}
	return kernels
}

// What six kernels sent decodes to the truth that was recorded beside it.
func TestDecodeCaptures(t *testing.T) {
	for _, k := range recordings(t) {
		t.Run(k.Kernel, func(t *testing.T) {
			rows, infos, named := 0, 0, map[string]bool{}
			var sent Attrs
			for i := range k.Captures {
				c := &k.Captures[i]
				payloads, err := k.Payloads(c)
				if err != nil {
					t.Fatal(err)
				}
				if len(payloads) != len(c.Rows) {
					t.Fatalf("%s: %d payloads, %d rows", c.Name, len(payloads), len(c.Rows))
				}
				for j, payload := range payloads {
					s, err := DecodeSocket(Protocol(c.Protocol()), payload)
					if err != nil {
						t.Errorf("%s row %d: %v", c.Name, j, err)
						continue
					}
					rows++
					sent |= s.Attrs
					checkAgainstRow(t, c, s, c.Rows[j])
					truth, ok := k.Socket(s.Cookie)
					if !ok || c.Event() {
						continue
					}
					named[truth.Name] = true
					if checkAgainstSocket(t, c.Name, s, truth) {
						infos++
					}
				}
			}
			want := allAttrs &^ (AttrUnknown | AttrBPFStorages)
			if k.Kernel == "5.10.262" {
				want &^= AttrULPInfo // it had neither TLS nor MPTCP
			}
			if k.Kernel == "6.18.44" {
				want &^= AttrVegasInfo | AttrDCTCPInfo | AttrLocals | AttrPeers // built without them, and without SCTP
			}
			if sent != want {
				t.Errorf("attributes %v, want %v", sent, want)
			}
			for _, name := range []string{"tcp4-listen-md5", "tcp4-established-bbr", "tcp6-listen-v6only", "tcp6-listen-dual", "tcp4-established-tls-tx",
				"udp4-bound", "udp6-bound", "udp4-connected", "udp6-connected"} {
				if !named[name] {
					t.Errorf("%s was not looked at", name)
				}
			}
			if rows < 150 || infos < 100 || len(named) < 50 {
				t.Errorf("only %d rows, %d tcp_infos and %d sockets were looked at", rows, infos, len(named))
			}
		})
	}
}

// checkAgainstRow compares with what the recording program, which is no decoder
// of ours, made of the same bytes.
func checkAgainstRow(t *testing.T, c *capture.Capture, s Socket, want capture.Row) {
	t.Helper()
	name := c.Name
	if s.Protocol == SCTP {
		s.State, s.Local = tcpstate.State(want.State), want.Local // see TestDecodeCapturesSCTP
	}
	if s.State != tcpstate.State(want.State) || s.Timer.Kind != TimerKind(want.Timer) || s.Timer.Retransmits != want.Retrans ||
		s.Timer.Expires != time.Duration(want.ExpiresMS)*time.Millisecond {
		t.Errorf("%s: %v %+v, want %+v", name, s.State, s.Timer, want)
	}
	if s.Local != want.Local || s.Remote != want.Remote || s.Interface != want.Interface {
		t.Errorf("%s: %v to %v on %d, want %+v", name, s.Local, s.Remote, s.Interface, want)
	}
	if s.RecvQueue != want.RecvQueue || s.SendQueue != want.SendQueue || s.Inode != want.Inode || s.Cookie != want.Cookie {
		t.Errorf("%s: queues %d %d, inode %d, cookie %d, want %+v", name, s.RecvQueue, s.SendQueue, s.Inode, s.Cookie, want)
	}
	var attrs Attrs
	for _, a := range want.Attrs {
		attrs |= 1 << a.Type
	}
	if s.Attrs != attrs {
		t.Errorf("%s: attributes %v, want %v", name, s.Attrs, attrs)
	}
	if s.Protocol == TCP && !c.Event() && s.Attrs.Has(AttrShutdown) == (s.Timer.Kind == TimerTimeWait || s.State == tcpstate.SynRecv) {
		t.Errorf("%s: %v has attributes %v", name, s.State, s.Attrs)
	}
}

// checkAgainstSocket compares with what the socket's owner knew, and reports
// whether there was a tcp_info to compare.
func checkAgainstSocket(t *testing.T, name string, s Socket, want *capture.Socket) bool {
	t.Helper()
	if s.Inode != want.Inode || s.Local != want.Local || s.Family != Family(want.Family) || s.Protocol != Protocol(want.Protocol) {
		t.Errorf("%s: %+v, want %+v", name, s, want)
	}
	if s.Attrs.Has(AttrCongestion) && s.Protocol == TCP && s.Congestion != want.Congestion {
		t.Errorf("%s: %s: congestion control %q, want %q", name, want.Name, s.Congestion, want.Congestion)
	}
	switch {
	case strings.HasSuffix(want.Name, "established-keepalive-tos-mark"):
		// The options that the maker set.
		if s.Timer.Kind != TimerKeepalive || s.Timer.Expires > 300*time.Second {
			t.Errorf("%s: timer %+v", name, s.Timer)
		}
		if s.Attrs.Has(AttrMark) && s.Mark != 0x1234 {
			t.Errorf("%s: mark %#x", name, s.Mark)
		}
		if s.Attrs.Has(AttrMark) == strings.HasPrefix(name, "unpriv") {
			t.Errorf("%s: attributes %v", name, s.Attrs)
		}
		if s.Family == IPv4 && s.Attrs.Has(AttrTOS) && s.TOS != 0x10 || s.Family == IPv6 && s.Attrs.Has(AttrTrafficClass) && s.TrafficClass != 0x20 {
			t.Errorf("%s: TOS %#x, traffic class %#x", name, s.TOS, s.TrafficClass)
		}
	case strings.HasSuffix(want.Name, "listen-backlog5-queued2"):
		if queued, limit, ok := s.Backlog(); queued != 2 || limit != 5 || !ok {
			t.Errorf("%s: Backlog %d of %d, %v", name, queued, limit, ok)
		}
	case strings.HasSuffix(want.Name, "established-unread1000"):
		if s.RecvQueue != 1000 || s.Attrs.Has(AttrMemInfo) && s.MemInfo.Recv < 1000 ||
			s.Attrs.Has(AttrSocketMemory) && (s.SocketMemory.RecvAlloc != s.MemInfo.Recv || s.SocketMemory.RecvBuffer < s.MemInfo.Recv) {
			t.Errorf("%s: 1000 bytes unread: %d, %+v, %+v", name, s.RecvQueue, s.MemInfo, s.SocketMemory)
		}
	case strings.HasSuffix(want.Name, "listen-md5"):
		checkMD5Key(t, name, s)
	case strings.HasSuffix(want.Name, "established-tls-tx"):
		checkTLS(t, name, s)
	case strings.HasSuffix(want.Name, "established-bbr"):
		// Its gain in the first phase is 2/ln 2, 739/256.
		if s.Attrs.Has(AttrBBRInfo) && (s.BBR.PacingGain != 739 || s.BBR.CwndGain != 739 || s.BBR.Bandwidth < 1e6 || s.BBR.MinRTT <= 0 || s.BBR.MinRTT > time.Second) {
			t.Errorf("%s: %+v", name, s.BBR)
		}
	case strings.HasSuffix(want.Name, "established-vegas"):
		if s.Attrs.Has(AttrVegasInfo) && (!s.Extra.Vegas.Enabled || s.Extra.Vegas.RTT <= 0 || s.Extra.Vegas.RTT > time.Second || s.Extra.Vegas.MinRTT != 0) {
			t.Errorf("%s: %+v", name, s.Extra.Vegas)
		}
	case strings.HasSuffix(want.Name, "established-dctcp"):
		if s.Attrs.Has(AttrDCTCPInfo) && s.Extra.DCTCP != (DCTCPInfo{}) { // no ECN on that path
			t.Errorf("%s: %+v", name, s.Extra.DCTCP)
		}
	case strings.HasSuffix(want.Name, "listen-v6only"):
		if s.Attrs.Has(AttrV6Only) && !s.V6Only {
			t.Errorf("%s: not IPv6 only", name)
		}
	case strings.HasSuffix(want.Name, "listen-dual"):
		if !s.Attrs.Has(AttrV6Only) || s.V6Only {
			t.Errorf("%s: IPv6 only: %v, %v", name, s.V6Only, s.Attrs)
		}
	case strings.HasSuffix(want.Name, "fin-wait2-owned"):
		if s.Shutdown != ShutdownSend {
			t.Errorf("%s: shut down %v after shutdown(SHUT_WR)", name, s.Shutdown)
		}
	case strings.HasSuffix(want.Name, "listen-dev-lo"):
		if s.Interface != 1 {
			t.Errorf("%s: bound to lo, interface %d", name, s.Interface)
		}
	}
	if !s.Attrs.Has(AttrTCPInfo) || s.Protocol != TCP || len(want.TCPInfo) == 0 {
		return false
	}
	// getsockopt gave the same structure at another moment, so clocks differ, and
	// what a window probe or a retransmission in between changed: at the socket
	// whose timer runs, and at the peers of those that probe.
	probed := strings.HasSuffix(want.Name, "full-rcvbuf") || strings.HasSuffix(want.Name, "fin-wait1-peer") ||
		strings.HasSuffix(want.Name, "closing-peer") || strings.HasSuffix(want.Name, "last-ack-peer")
	var info TCPInfo
	if err := info.UnmarshalBinary(want.TCPInfo); err != nil {
		t.Fatal(err)
	}
	for _, i := range []*TCPInfo{&s.TCPInfo, &info} {
		i.LastDataSent, i.LastDataRecv, i.LastAckRecv, i.BusyTime, i.RwndLimited = 0, 0, 0, 0, 0
		if probed {
			i.SegsOut, i.SegsIn = 0, 0
		}
		if s.Timer.Kind == TimerProbe || s.Timer.Kind == TimerRetransmit {
			i.Probes, i.Backoff, i.SegsOut, i.SegsIn, i.Retransmits, i.RTO = 0, 0, 0, 0, 0, 0
		}
	}
	if s.TCPInfo != info {
		t.Errorf("%s: %s:\n      dump %+v\ngetsockopt %+v", name, want.Name, s.TCPInfo, info)
	}
	return true
}

// checkMD5Key: the recorded listener has one key, "sesame", for host 9 of its
// loopback network.
func checkMD5Key(t *testing.T, name string, s Socket) {
	t.Helper()
	if !s.Attrs.Has(AttrMD5Keys) {
		return
	}
	peer := netip.MustParsePrefix("127.0.0.9/32")
	if s.Family == IPv6 {
		peer = netip.MustParsePrefix("::9/128")
	}
	if keys := s.Extra.MD5Keys; len(keys) != 1 || keys[0].Peers != peer || string(keys[0].Secret.Reveal()) != "sesame" {
		t.Errorf("%s: keys %+v", name, keys)
	}
}

// checkTLS: the recorded socket encrypts with TLS 1.2 and AES-GCM-128 in the
// kernel, and decrypts nothing. The peer is no TLS socket.
func checkTLS(t *testing.T, name string, s Socket) {
	t.Helper()
	if !s.Attrs.Has(AttrULPInfo) {
		return
	}
	tls := s.Extra.ULP.TLS
	tls.MaxPayload = 0 // since 6.19
	want := TLSInfo{Version: 0x0303, Cipher: 51, Send: TLSConfSoftware, Recv: TLSConfBase}
	if s.Extra.ULP.Name != "tls" || s.Extra.ULP.Sent != ULPHasTLS || tls != want {
		t.Errorf("%s: %+v", name, s.Extra.ULP)
	}
}

// The same recordings, through a Client: what was asked of the kernel is asked
// of a fake that answers with what the kernel did.
func TestDumpCaptures(t *testing.T) {
	queries := map[string]Query{
		"tcp4-all":            {Family: IPv4, Attrs: allAttrs},
		"tcp6-all":            {Family: IPv6, Attrs: allAttrs},
		"tcp4-ext0":           {Family: IPv4, States: tcpstate.SetOf(tcpstate.Established, tcpstate.Listen)},
		"tcp4-time-wait":      {Family: IPv4, States: tcpstate.SetOf(tcpstate.TimeWait)},
		"tcp4-syn-recv":       {Family: IPv4, States: tcpstate.SetOf(tcpstate.SynRecv)},
		"tcp4-bound-inactive": {Family: IPv4, States: tcpstate.SetOf(tcpstate.BoundInactive)},
		"tcpdiag-legacy":      {States: tcpstate.SetOf(tcpstate.Listen)},
	}
	for _, k := range recordings(t) {
		t.Run(k.Kernel, func(t *testing.T) {
			for name, q := range queries {
				rec, ok := k.Capture(name)
				if !ok {
					t.Fatalf("no recording %s", name)
				}
				fake := &fakeKernel{answerTo: func(request []byte) []datagram { return replay(rec.Datagrams, request) }}
				got, err := Collect(fake.client(t).Dump(t.Context(), q))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				// The request is the recorded one, but for the attributes it asked for.
				// Those for tcp_info are several.
				sent := fake.requests[len(fake.requests)-1]
				sent[16+2], sent[16+3] = rec.Request[16+2], rec.Request[16+3]
				ne.PutUint32(sent[8:], ne.Uint32(rec.Request[8:]))
				if string(sent) != string(rec.Request) && !q.Attrs.Has(AttrTCPInfo) {
					t.Errorf("%s: request\n got %x\nwant %x", name, sent, rec.Request)
				}
				if len(got) != len(rec.Rows) {
					t.Errorf("%s: %d sockets, %d recorded", name, len(got), len(rec.Rows))
					continue
				}
				for i, s := range got {
					want := tcpstate.State(rec.Rows[i].State)
					bound := want == tcpstate.Closed // all closed ones of the recordings are bound-only
					if bound {
						want = tcpstate.BoundInactive
					}
					if s.State != want || s.Cookie != rec.Rows[i].Cookie {
						t.Errorf("%s: %v cookie %d, want %v cookie %d", name, s.State, s.Cookie, want, rec.Rows[i].Cookie)
					}
					// Decoded over its predecessor, as alone.
					alone, err := DecodeSocket(TCP, payloadsOf(t, k, rec)[i])
					if err != nil {
						t.Fatal(err)
					}
					alone.State = s.State
					if alone.Attrs&AttrUnknown != 0 && !q.Attrs.Has(AttrUnknown) {
						t.Errorf("%s: row %d has attributes that are unknown here: %+v", name, i, alone.Extra.Unknown)
					}
					if !same(s, alone) {
						t.Errorf("%s: row %d: something of an earlier row is left:\n got %+v\nwant %+v", name, i, s, alone)
					}
				}
			}
		})
	}
}

func payloadsOf(t testing.TB, k *capture.Kernel, c *capture.Capture) [][]byte {
	t.Helper()
	payloads, err := k.Payloads(c)
	if err != nil {
		t.Fatal(err)
	}
	return payloads
}

// same compares two Sockets with what their Extras hold.
func same(a, b Socket) bool {
	extra := reflect.DeepEqual(a.Extra, b.Extra)
	a.Extra, b.Extra = nil, nil
	return extra && a == b
}

// replay gives recorded datagrams the sequence number of a request, and leaves out
// the sockets whose state it does not ask for. (A bound-only one is recorded as
// CLOSE, and asked for by the bit of BoundInactive.)
func replay(recorded [][]byte, request []byte) []datagram {
	states := tcpstate.Set(ne.Uint32(request[16+4:]))
	if ne.Uint16(request[4:]) == uapi.TCPDiagGetSock {
		states = tcpstate.Set(ne.Uint32(request[16+52:]))
	}
	var out []datagram
	for _, d := range recorded {
		var kept []byte
		for len(d) >= uapi.SizeofNLMsgHdr {
			m := append([]byte(nil), d[:min(align4(int(ne.Uint32(d))), len(d))]...)
			d = d[len(m):]
			ne.PutUint32(m[8:], ne.Uint32(request[8:]))
			if typ := ne.Uint16(m[4:]); typ == uapi.SockDiagByFamily || typ == uapi.TCPDiagGetSock {
				state := tcpstate.State(m[16+1])
				if state == tcpstate.Closed {
					state = tcpstate.BoundInactive
				}
				if !states.Has(state) {
					continue
				}
			}
			kept = append(kept, m...)
		}
		out = append(out, datagram{data: kept})
	}
	return out
}
