package sockdiag_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// expected is a row that has to come, with what its maker knows of it.
type expected struct {
	name          string
	cookie        uint64 // 0: nobody could ask for it
	local, remote netip.AddrPort
	peers         sockdiag.Attrs // AttrPeers of an SCTP association, whose endpoint has the same cookie
}

func (e *expected) is(s *sockdiag.Socket) bool {
	return (e.cookie == 0 || e.cookie == s.Cookie) && e.local == s.Local && e.remote == s.Remote && s.Attrs&sockdiag.AttrPeers == e.peers
}

// mixed are the rows that have to come, by protocol, and what the kernel lacks.
type mixed struct {
	rows    map[sockdiag.Protocol][]expected
	missing map[string]error
}

// add expects sockets, by what getsockopt, getsockname and getpeername tell.
func (m *mixed) add(t *testing.T, p sockdiag.Protocol, name string, ids ...sockdiag.ID) {
	t.Helper()
	for _, id := range ids {
		m.rows[p] = append(m.rows[p], expected{name: name, cookie: id.Cookie, local: id.Local, remote: id.Remote})
	}
}

// makeMixed makes sockets of all kinds that the kernel has.
func makeMixed(t *testing.T) *mixed {
	t.Helper()
	m := &mixed{rows: map[sockdiag.Protocol][]expected{}, missing: map[string]error{}}
	for _, keys := range []int{40, 400} { // the latter fit into no reply
		l := listen(t, "tcp4", "127.0.0.1:0", nil)
		addMD5Keys(t, l, keys)
		m.add(t, sockdiag.TCP, "listener with TCP-MD5 keys", idOf(t, l))
	}
	m.addGo(t, "127.0.0.1:0")
	m.addGo(t, "[::1]:0")
	for _, f := range bothFamilies {
		listener, client, server := stream(t, "TCP", f, unix.IPPROTO_TCP)
		m.add(t, sockdiag.TCP, "TCP", idOf(t, listener), idOf(t, client), idOf(t, server))

		listener, client, server = stream(t, "TCP", f, unix.IPPROTO_TCP)
		m.add(t, sockdiag.TCP, "TLS", idOf(t, listener), idOf(t, client), idOf(t, server))
		err := unix.SetsockoptString(int(client), unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
		if m.missing["TLS"] = err; err == nil {
			client.encrypt(t)
		}

		if _, err := trySocket(t, f, unix.SOCK_STREAM, unix.IPPROTO_SCTP); err != nil {
			m.missing["SCTP"] = err
		} else {
			m.addSCTP(t, f)
		}

		bound, connected := datagrams(t, "UDP", f, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
		m.add(t, sockdiag.UDP, "UDP", idOf(t, bound), idOf(t, connected))
		bound, connected = datagrams(t, "raw sockets", f, unix.SOCK_RAW, protocolRaw)
		m.add(t, sockdiag.Raw, "raw socket", idOf(t, bound), idOf(t, connected))
	}
	for _, family := range nstest.Families {
		for _, made := range nstest.States(t, family) {
			if made.State != tcpstate.BoundInactive || hasBoundInactive(t) {
				m.rows[sockdiag.TCP] = append(m.rows[sockdiag.TCP], expected{name: made.Name, cookie: made.Cookie, local: made.Local, remote: made.Remote})
			}
		}
	}
	return m
}

// addGo adds a listener and a connection as Go programs have them unless they say
// otherwise: of MPTCP where the kernel has it, with TCP subflows below.
func (m *mixed) addGo(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	client, server := dialMPTCP(t, l.(*net.TCPListener))
	for name, c := range map[string]sockdiag.ID{"Go listener": idOf(t, l.(*net.TCPListener)), "Go client": idOf(t, client), "Go server": idOf(t, server)} {
		m.add(t, c.Protocol, name, c)
		if c.Protocol == sockdiag.MPTCP {
			c.Cookie = 0
			m.add(t, sockdiag.TCP, name+"'s subflow", c)
		}
	}
}

func (m *mixed) addSCTP(t *testing.T, f sockdiag.Family) {
	t.Helper()
	listener, client, server := stream(t, "SCTP", f, unix.IPPROTO_SCTP)
	for name, id := range map[string]sockdiag.ID{"listener": idOf(t, listener), "client": idOf(t, client), "server": idOf(t, server)} {
		association := expected{name: "SCTP association of the " + name, cookie: id.Cookie, local: id.Local, remote: id.Remote, peers: sockdiag.AttrPeers}
		if name != "listener" {
			m.rows[sockdiag.SCTP] = append(m.rows[sockdiag.SCTP], association)
		}
		m.rows[sockdiag.SCTP] = append(m.rows[sockdiag.SCTP], expected{name: "SCTP endpoint of the " + name, cookie: id.Cookie, local: id.Local, remote: id.Remote})
	}
}

// On a host with everything at once no socket is missing from the dump of its
// protocol with all attributes, and no dump ends in an error, whoever asks.
func TestMixedHost(t *testing.T) {
	nstest.RequireNamespace(t)
	m := makeMixed(t)
	for _, p := range []sockdiag.Protocol{sockdiag.TCP, sockdiag.MPTCP, sockdiag.SCTP, sockdiag.UDP, sockdiag.Raw} {
		t.Run(p.String(), func(t *testing.T) {
			withoutPart(t, p.String(), m.missing[p.String()])
			if len(m.rows[p]) == 0 {
				withoutPart(t, p.String(), unix.EPROTONOSUPPORT)
			}
			for _, w := range whos {
				c := dialAs(t, w.opener)
				for _, f := range []sockdiag.Family{0, sockdiag.IPv4, sockdiag.IPv6} {
					q := sockdiag.Query{Family: f, Protocol: p, Attrs: attributes() | sockdiag.AttrUnknown}
					var rows []sockdiag.Socket
					var err error
					as(t, w.sender, func() { rows, err = sockdiag.Collect(c.Dump(t.Context(), q)) })
					withoutPart(t, p.String(), err)
					checkMixed(t, w.name, f, rows, m.rows[p])
				}
			}
		})
	}
	t.Run("tls", func(t *testing.T) {
		withoutPart(t, "TLS", m.missing["TLS"])
		n := 0
		for _, s := range collect(t, dial(t), sockdiag.Query{Attrs: sockdiag.AttrULPInfo}) {
			if s.Extra != nil && s.Extra.ULP.Name == "tls" {
				n++
				if tls := s.Extra.ULP.TLS; tls.Version != 0x0303 || tls.Cipher != 51 || tls.Send != sockdiag.TLSConfSoftware || tls.Recv != sockdiag.TLSConfBase {
					t.Errorf("%+v", tls)
				}
			}
		}
		if n != 2 {
			t.Errorf("%d sockets with TLS, want one of each family", n)
		}
	})
}

func checkMixed(t *testing.T, who string, f sockdiag.Family, rows []sockdiag.Socket, want []expected) {
	t.Helper()
	there := 0
	for i := range want {
		e := &want[i]
		if v4 := e.local.Addr().Is4(); f != 0 && v4 != (f == sockdiag.IPv4) {
			continue
		}
		there++
		n := 0
		for j := range rows {
			if e.is(&rows[j]) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s, family %v: %d rows of %s, cookie %d, %v to %v", who, f, n, e.name, e.cookie, e.local, e.remote)
		}
	}
	if there < 2 {
		t.Errorf("family %v: only %d sockets were looked for", f, there)
	}
}
