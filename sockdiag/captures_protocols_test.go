package sockdiag

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/capture"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// recorded decodes the rows of a capture. It is empty where the kernel has no such
// sockets.
func recorded(t *testing.T, k *capture.Kernel, name string) (sockets []Socket) {
	t.Helper()
	c, ok := k.Capture(name)
	if !ok {
		return nil
	}
	for i, payload := range payloadsOf(t, k, c) {
		s, err := DecodeSocket(Protocol(c.Protocol()), payload)
		if err != nil {
			t.Fatalf("%s row %d: %v", name, i, err)
		}
		sockets = append(sockets, s)
	}
	return sockets
}

// named finds the socket of that name among the rows that satisfy is.
func named(t *testing.T, k *capture.Kernel, sockets []Socket, name string, is func(*Socket) bool) *Socket {
	t.Helper()
	for i, s := range sockets {
		if truth, ok := k.Socket(s.Cookie); ok && truth.Name == name && is(&s) {
			return &sockets[i]
		}
	}
	t.Fatalf("%s: no row of %s", k.Kernel, name)
	return nil
}

func anyRow(*Socket) bool { return true }

// A UDP socket with six bytes to read and nobody it is connected to, and the one that
// sent them.
func TestDecodeCapturesUDP(t *testing.T) {
	for _, k := range recordings(t) {
		for _, v := range []string{"4", "6"} {
			sockets := recorded(t, k, "udp"+v+"-all")
			bound := named(t, k, sockets, "udp"+v+"-bound", anyRow)
			if bound.State != tcpstate.Closed || bound.RecvQueue < 6 || bound.RecvQueue != bound.MemInfo.Recv || bound.Remote.Port() != 0 {
				t.Errorf("%s: bound: %+v", k.Kernel, bound)
			}
			connected := named(t, k, sockets, "udp"+v+"-connected", anyRow)
			if connected.State != tcpstate.Established || connected.Remote != bound.Local {
				t.Errorf("%s: connected: %+v", k.Kernel, connected)
			}
			for _, s := range sockets {
				_, _, listens := s.Backlog()
				_, waits := s.TimeWait()
				_, sctp := s.SCTPState()
				if _, owned := s.Owner(); listens || waits || sctp || !owned || s.Timer != (Timer{}) || s.Extra != nil || s.RawProtocol != 0 {
					t.Errorf("%s: %+v", k.Kernel, s)
				}
			}
		}
	}
}

// A raw socket of protocol 253, which RFC 3692 keeps for experiments.
func TestDecodeCapturesRaw(t *testing.T) {
	for _, k := range recordings(t) {
		if k.Kernel == "6.18.44" {
			continue // built without raw_diag
		}
		for _, v := range []string{"4", "6"} {
			s := named(t, k, recorded(t, k, "raw"+v+"-all"), "raw"+v+"-253", anyRow)
			if s.RawProtocol != 253 || s.Local.Port() != 253 || s.State != tcpstate.Closed || !s.Attrs.Has(AttrProtocol) || s.Extra != nil {
				t.Errorf("%s: %+v", k.Kernel, s)
			}
		}
	}
}

// Two ends of an MPTCP connection, of which one has sent five bytes that the other
// has not read, and a listener with room for five. What one end says of itself
// agrees with what the other says, and with what their subflows do.
func TestDecodeCapturesMPTCP(t *testing.T) {
	for _, k := range recordings(t) {
		if k.Kernel == "5.10.262" {
			continue // built without MPTCP
		}
		sent := MPTCPHasLocalAddr
		if k.Kernel != "6.1.192" {
			sent |= MPTCPHasTraffic | MPTCPHasSubflowsTotal | MPTCPHasLast
		}
		for _, v := range []string{"4", "6"} {
			sockets := recorded(t, k, "mptcp"+v+"-all")
			client := named(t, k, sockets, "mptcp"+v+"-client", anyRow)
			server := named(t, k, sockets, "mptcp"+v+"-server", anyRow)
			listener := named(t, k, sockets, "mptcp"+v+"-listen", anyRow)
			if queued, limit, ok := listener.Backlog(); queued != 0 || limit != 5 || !ok {
				t.Errorf("%s: Backlog %d of %d, %v", k.Kernel, queued, limit, ok)
			}
			if got := listener.Extra.MPTCP; got.Token != 0 || got.WriteSeq != 0 || got.Sent != sent {
				t.Errorf("%s: listener %+v", k.Kernel, got)
			}
			a, b := client.Extra.MPTCP, server.Extra.MPTCP
			if a.WriteSeq != b.RcvNxt || b.WriteSeq != a.RcvNxt || a.SndUna != a.WriteSeq || a.Token == b.Token || a.Flags != MPTCPRemoteKey || a.Subflows != 0 {
				t.Errorf("%s:\n%+v\n%+v", k.Kernel, a, b)
			}
			if server.RecvQueue < 5 || client.State != tcpstate.Established || client.Remote != server.Local {
				t.Errorf("%s: server %+v", k.Kernel, server)
			}
			for _, s := range []*Socket{client, server} {
				if info := s.Extra.MPTCP; info.Sent != sent || info.Token == 0 || info.Token != subflowToken(t, k, "tcp"+v+"-all", s) || s.ID().Token != info.Token {
					t.Errorf("%s: %+v", k.Kernel, info)
				}
			}
			if !a.Has(MPTCPHasTraffic | MPTCPHasSubflowsTotal | MPTCPHasLast) {
				if a.BytesSent != 0 || a.SubflowsTotal != 0 || a.LastDataSent != 0 {
					t.Errorf("%s: %+v", k.Kernel, a)
				}
				continue
			}
			if a.BytesSent != 5 || a.BytesAcked != 5 || b.BytesReceived != 5 || a.BytesReceived != 0 || a.BytesRetrans != 0 || a.SubflowsTotal != 1 {
				t.Errorf("%s:\n%+v\n%+v", k.Kernel, a, b)
			}
			if a.LastDataSent <= 0 || a.LastDataSent > time.Minute || b.LastDataRecv > time.Minute {
				t.Errorf("%s:\n%+v\n%+v", k.Kernel, a, b)
			}
		}
	}
}

// subflowToken is the token that the TCP socket with the ends of an MPTCP connection
// has in its ULP attribute.
func subflowToken(t *testing.T, k *capture.Kernel, name string, s *Socket) uint32 {
	t.Helper()
	for _, flow := range recorded(t, k, name) {
		if flow.Local == s.Local && flow.Remote == s.Remote && flow.Extra != nil {
			return flow.Extra.ULP.MPTCP.TokenLocal
		}
	}
	t.Errorf("%s: no subflow of %v", k.Kernel, s.Local)
	return 0
}

// A one-to-one SCTP socket that listens, with room for five, and one that is
// connected to it and not accepted yet. The numbers are the defaults of the kernel
// (/proc/sys/net/sctp) and those of the handshake.
func TestDecodeCapturesSCTP(t *testing.T) {
	endpoint := func(s *Socket) bool { _, ok := s.SCTPState(); return !ok }
	association := func(s *Socket) bool { return !endpoint(s) }
	for _, k := range recordings(t) {
		if k.Kernel == "6.18.44" {
			continue // built without SCTP
		}
		for _, v := range []string{"4", "6"} {
			sockets := recorded(t, k, "sctp"+v+"-all")
			listener := named(t, k, sockets, "sctp"+v+"-listen", endpoint)
			if queued, limit, ok := listener.Backlog(); queued != 1 || limit != 5 || !ok || listener.Extra.SCTP.Endpoint != SCTPEndpointListening {
				t.Errorf("%s: Backlog %d of %d, %v, %+v", k.Kernel, queued, limit, ok, listener.Extra.SCTP)
			}
			connected := named(t, k, sockets, "sctp"+v+"-client", endpoint)
			if connected.State != tcpstate.Established || connected.Extra.SCTP.Endpoint != SCTPEndpointEstablished || connected.Timer != (Timer{}) {
				t.Errorf("%s: %+v", k.Kernel, connected)
			}
			for _, s := range []*Socket{listener, connected} {
				if want := (SCTPOptions{V4Mapped: true, Type: 2}); s.Extra.SCTP.Options != want || s.Extra.SCTP.Tag != 0 || s.Attrs.Has(AttrPeers) {
					t.Errorf("%s: %+v", k.Kernel, s.Extra.SCTP)
				}
			}

			client := named(t, k, sockets, "sctp"+v+"-client", association)
			server := named(t, k, sockets, "sctp"+v+"-listen", association)
			if client.Local != connected.Local || client.Remote != listener.Local || server.Local != listener.Local || server.Remote != client.Local {
				t.Errorf("%s: client %v to %v, server %v to %v", k.Kernel, client.Local, client.Remote, server.Local, server.Remote)
			}
			a, b := client.Extra.SCTP, server.Extra.SCTP
			if !sameAddresses(a.Locals, b.Peers) || !sameAddresses(b.Locals, a.Peers) || !slices.Contains(a.Locals, client.Local) {
				t.Errorf("%s: client %v to %v, server %v to %v", k.Kernel, a.Locals, a.Peers, b.Locals, b.Peers)
			}
			if a.Tag != b.PeerTag || b.Tag != a.PeerTag || a.Tag == b.Tag || a.Rwnd != b.PeerRwnd || a.InStrms != b.OutStrms || a.OutStrms != 10 {
				t.Errorf("%s:\n%+v\n%+v", k.Kernel, a, b)
			}
			// INIT and COOKIE ECHO, INIT ACK and COOKIE ACK, a packet each. 5.10 does
			// not count one that it sends.
			if a.OPackets != 2 || a.OCtrlChunks != 2 && k.Kernel != "5.10.262" || a.IPackets != 2 || a.ICtrlChunks != 2 || a.OODChunks != 0 {
				t.Errorf("%s: %+v", k.Kernel, a)
			}
			for _, s := range []*Socket{client, server} {
				if state, ok := s.SCTPState(); state != SCTPEstablished || !ok || s.State != tcpstate.Established || s.Extra.SCTP.Endpoint != 0 {
					t.Errorf("%s: %v, %v, %+v", k.Kernel, state, ok, s)
				}
				i, p := s.Extra.SCTP, s.Extra.SCTP.Primary
				if p.Address != s.Remote || p.State != SCTPPathActive || p.RTO != 3*time.Second || p.PathMaxRxt != 5 || p.SACKDelay != 200*time.Millisecond || p.Error != 0 {
					t.Errorf("%s: %+v", k.Kernel, p)
				}
				if p.HBInterval != 30*250 { // 30 seconds in kernels of 250 Hz
					t.Errorf("%s: heartbeats every %d ticks", k.Kernel, p.HBInterval)
				}
				if i.MaxBurst != 4 || i.Options != (SCTPOptions{}) || !i.PeerCapable.Has(SCTPPRSCTP|SCTPECN|SCTPIPv4) || i.PeerCapable.Has(SCTPIPv6) != (v == "6") {
					t.Errorf("%s: %+v", k.Kernel, i)
				}
			}
		}
	}
}

func sameAddresses(a, b []netip.AddrPort) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.AddrPort.Compare)
	slices.SortFunc(b, netip.AddrPort.Compare)
	return slices.Equal(a, b)
}

// What the kernel multicasts when a socket is closed has the last numbers of it.
func TestDecodeCapturesEvents(t *testing.T) {
	for _, k := range recordings(t) {
		tcp := named(t, k, recorded(t, k, "tcp4-destroy-event"), "tcp4-established-keepalive-tos-mark", anyRow)
		if tcp.Attrs != AttrProtocol|AttrTCPInfo || tcp.State != tcpstate.Closed || tcp.TCPInfo.State != tcpstate.Closed || tcp.RawProtocol != 0 {
			t.Errorf("%s: %+v", k.Kernel, tcp)
		}
		udp := named(t, k, recorded(t, k, "udp4-destroy-event"), "udp4-connected", anyRow)
		if udp.Attrs != AttrProtocol || udp.State != tcpstate.Established || udp.RawProtocol != 0 {
			t.Errorf("%s: %+v", k.Kernel, udp)
		}
		for _, s := range []*Socket{tcp, udp} {
			if uid, ok := s.Owner(); ok {
				t.Errorf("%s: owner %d of a socket that is gone", k.Kernel, uid)
			}
		}
	}
}
