package sockdiag_test

import (
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// The columns of the table: which kind of row may have the attribute.
const (
	tcpRow = iota
	listenRow
	boundRow
	miniRow
	udpRow
	rawRow
	mptcpRow
	sctpRow
	rowKinds
)

// attribute is a row of the table in the package's documentation.
type attribute struct {
	attr  sockdiag.Attrs
	ask   string // the bit of idiag_ext that brings it, or "-": it comes unasked
	needs string
	since string
	rows  [rowKinds]string // "yes", "v6": on IPv6 sockets, "some": see specimen.some, or "-"
}

// attributeTable is that of the documentation. TestAttributeTable holds it against
// the kernel, and TestAttributeTableIsDocumented against the documentation.
var attributeTable = []attribute{
	{sockdiag.AttrMemInfo, "0x01", "-", "-", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "-"}},
	{sockdiag.AttrTCPInfo, "0x02", "-", "-", [...]string{"yes", "yes", "-", "-", "-", "-", "yes", "yes"}},
	{sockdiag.AttrMD5Keys, "0x02", "NET_ADMIN", "-", [...]string{"some", "some", "-", "-", "-", "-", "-", "-"}},
	{sockdiag.AttrULPInfo, "0x02", "NET_ADMIN<6.15", "5.4", [...]string{"some", "some", "-", "-", "-", "-", "-", "-"}},
	{sockdiag.AttrVegasInfo, "0x04", "-", "-", [...]string{"some", "-", "-", "-", "-", "-", "-", "-"}},
	{sockdiag.AttrDCTCPInfo, "0x04", "-", "-", [...]string{"some", "-", "-", "-", "-", "-", "-", "-"}},
	{sockdiag.AttrBBRInfo, "0x04", "-", "-", [...]string{"some", "-", "-", "-", "-", "-", "-", "-"}},
	{sockdiag.AttrCongestion, "0x08", "-", "-", [...]string{"yes", "yes", "-", "-", "-", "-", "-", "some"}},
	{sockdiag.AttrTOS, "0x10", "-", "-", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrTrafficClass, "0x20", "-", "-", [...]string{"v6", "v6", "v6", "-", "v6", "v6", "v6", "v6"}},
	{sockdiag.AttrClassID, "0x20", "-", "-", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrSocketMemory, "0x40", "-", "-", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrShutdown, "-", "-", "-", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrV6Only, "-", "-", "-", [...]string{"-", "v6", "v6", "-", "some", "some", "some", "some"}},
	{sockdiag.AttrMark, "-", "NET_ADMIN", "-", [...]string{"yes", "yes", "yes", "some", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrCgroupID, "-", "-", "5.8", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrSocketOptions, "-", "-", "5.10", [...]string{"yes", "yes", "yes", "-", "yes", "yes", "yes", "yes"}},
	{sockdiag.AttrProtocol, "-", "-", "-", [...]string{"-", "-", "-", "-", "-", "yes", "-", "-"}},
	{sockdiag.AttrLocals, "-", "-", "-", [...]string{"-", "-", "-", "-", "-", "-", "-", "yes"}},
	{sockdiag.AttrPeers, "-", "-", "-", [...]string{"-", "-", "-", "-", "-", "-", "-", "some"}},
	{sockdiag.AttrBPFStorages, "attr", "BPF", "5.7", [...]string{"some", "some", "-", "-", "-", "-", "some", "-"}},
}

// TestAttributeTableIsDocumented reads the table that users read.
func TestAttributeTableIsDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	in := false
	for line := range strings.Lines(file.Doc.Text()) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "\tattribute "):
			in = true
		case in && strings.HasPrefix(line, "\t"):
			documented = append(documented, strings.Join(fields, " "))
		default:
			in = false
		}
	}
	var want []string
	for _, a := range attributeTable {
		want = append(want, strings.Join(append([]string{a.attr.String(), a.ask, a.needs, a.since}, a.rows[:]...), " "))
	}
	if !slices.Equal(documented, want) {
		t.Errorf("doc.go has\n%s\nand the kernel is held against\n%s", strings.Join(documented, "\n"), strings.Join(want, "\n"))
	}
	for n := range 63 {
		a := sockdiag.Attrs(1) << n
		named := !strings.HasPrefix(a.String(), "Attr(")
		if listed := slices.ContainsFunc(attributeTable, func(row attribute) bool { return row.attr == a }); named != listed {
			t.Errorf("%v is in the table: %v", a, listed)
		}
	}
}

// specimen is a socket, or one of an SCTP socket's rows, and what its maker knows.
type specimen struct {
	name string
	is   func(*sockdiag.Socket) bool
	v6   bool
	row  int // which column of the table it is of
	some sockdiag.Attrs
}

// who asks: the kernel looks at who opened the netlink socket and at who sends.
type who struct {
	name           string
	opener, sender bool // has CAP_NET_ADMIN over the network namespace
}

var whos = []who{{"privileged", true, true}, {"opener alone", true, false}, {"sender alone", false, true}, {"ordinary", false, false}}

// as calls fn without privilege, unless it is to have it.
func as(t *testing.T, privileged bool, fn func()) {
	t.Helper()
	if privileged {
		fn()
		return
	}
	nstest.WithoutCaps(t, fn)
}

// dialAs opens a Client whose netlink socket has such an opener.
func dialAs(t *testing.T, privileged bool) (c *sockdiag.Client) {
	t.Helper()
	var err error
	as(t, privileged, func() { c, err = sockdiag.Dial(nil) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wants is what the table says of a specimen.
func (s *specimen) wants(ask sockdiag.Attrs, w who, r sockdiag.Release) (attrs sockdiag.Attrs) {
	bits := ""
	for _, a := range attributeTable {
		if ask.Has(a.attr) {
			bits += a.ask + " "
		}
	}
	for _, a := range attributeTable {
		switch a.rows[s.row] {
		case "-":
			continue
		case "v6":
			if !s.v6 {
				continue
			}
		case "some":
			if !s.some.Has(a.attr) {
				continue
			}
		}
		if a.ask != "-" && !strings.Contains(bits, a.ask) {
			continue
		}
		admin := w.opener && w.sender
		if a.needs == "NET_ADMIN" && !admin || a.needs == "NET_ADMIN<6.15" && !admin && !r.AtLeast(6, 15) {
			continue
		}
		attrs |= a.attr
	}
	return attrs
}

// attributes are all of the table but BPF storages, which not everybody may ask for.
func attributes() (all sockdiag.Attrs) {
	for _, a := range attributeTable {
		all |= a.attr
	}
	return all &^ sockdiag.AttrBPFStorages
}

// asks are what to ask for: nothing, everything, and each bit by each of its names.
func asks() []sockdiag.Attrs {
	all := []sockdiag.Attrs{0, attributes()}
	for _, a := range attributeTable {
		if a.attr != sockdiag.AttrBPFStorages {
			all = append(all, a.attr)
		}
	}
	return all
}

func runningRelease(t *testing.T) sockdiag.Release {
	t.Helper()
	r, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hold dumps the protocol for each of the askers, and holds every specimen against
// the table.
func hold(t *testing.T, p sockdiag.Protocol, specimens []specimen, asks ...sockdiag.Attrs) {
	t.Helper()
	release := runningRelease(t)
	for _, w := range whos {
		c := dialAs(t, w.opener)
		for _, ask := range asks {
			var rows []sockdiag.Socket
			var err error
			as(t, w.sender, func() { rows, err = sockdiag.Collect(c.Dump(t.Context(), sockdiag.Query{Protocol: p, Attrs: ask})) })
			if ask.Has(sockdiag.AttrBPFStorages) && !w.sender {
				if !errors.Is(err, fs.ErrPermission) || len(rows) > 0 {
					t.Errorf("%v, %s, asked for %v: %d rows, error %v", p, w.name, ask, len(rows), err)
				}
				continue
			}
			if err != nil {
				withoutPart(t, p.String(), err)
			}
			for i := range specimens {
				s := &specimens[i]
				n := 0
				for j := range rows {
					if !s.is(&rows[j]) {
						continue
					}
					n++
					got := rows[j].Attrs & (attributes() | sockdiag.AttrBPFStorages) // newer kernels have others
					if want := s.wants(ask, w, release); got != want {
						t.Errorf("%v %s, %s, asked for %v: too many %v, too few %v", p, s.name, w.name, ask, got&^want, want&^got)
					}
				}
				if n != 1 {
					t.Errorf("%v %s, %s, asked for %v: %d rows", p, s.name, w.name, ask, n)
				}
			}
		}
	}
}

// of is the specimen of a socket of ours.
func of(t *testing.T, name string, fd fdConn, row int, some sockdiag.Attrs) specimen {
	t.Helper()
	id := idOf(t, fd)
	return specimen{name: name, v6: id.Family == sockdiag.IPv6, row: row, some: some,
		is: func(s *sockdiag.Socket) bool { return s.Cookie == id.Cookie }}
}

var bothFamilies = []sockdiag.Family{sockdiag.IPv4, sockdiag.IPv6}

// TestAttributeTable makes sockets with every attribute, and asks for them with and
// without privilege.
func TestAttributeTable(t *testing.T) {
	nstest.RequireNamespace(t)
	withReno(t)
	release := runningRelease(t)
	for _, family := range nstest.Families {
		t.Run("states/"+family.String(), func(t *testing.T) {
			var specimens []specimen
			for _, m := range nstest.States(t, family) {
				s := specimen{name: m.Name, v6: m.Family == uint8(sockdiag.IPv6), is: func(s *sockdiag.Socket) bool {
					_, ok := find([]sockdiag.Socket{*s}, m)
					return ok
				}}
				switch {
				case m.State == tcpstate.Listen:
					s.row = listenRow
				case m.State == tcpstate.BoundInactive && !hasBoundInactive(t):
					continue // in no dump
				case m.State == tcpstate.BoundInactive:
					s.row = boundRow
				case m.State == tcpstate.SynRecv:
					s.row, s.some = miniRow, sockdiag.AttrMark
				case m.Timer == uint8(sockdiag.TimerTimeWait):
					s.row = miniRow
					if release.AtLeast(6, 1) {
						s.some = sockdiag.AttrMark
					}
				}
				specimens = append(specimens, s)
			}
			hold(t, sockdiag.TCP, specimens, asks()...)
		})
	}
	for name, attr := range map[string]sockdiag.Attrs{
		"bbr": sockdiag.AttrBBRInfo, "dctcp": sockdiag.AttrDCTCPInfo, "vegas": sockdiag.AttrVegasInfo, "cubic": 0,
	} {
		t.Run("congestion/"+name, func(t *testing.T) {
			for _, f := range bothFamilies {
				listener, client, server := stream(t, "TCP", f, unix.IPPROTO_TCP)
				for _, fd := range []fdConn{listener, client, server} {
					fd.setCongestion(t, name)
				}
				specimens := []specimen{of(t, "listener", listener, listenRow, 0), of(t, "client", client, tcpRow, attr), of(t, "server", server, tcpRow, attr)}
				hold(t, sockdiag.TCP, specimens, asks()...)
				// The states behind TIME_WAIT, by number, have nothing to tell.
				if err := unix.Shutdown(int(client), unix.SHUT_WR); err != nil {
					t.Fatal(err)
				}
				eventually(t, "FIN_WAIT2", func() bool {
					info, err := sockdiag.TCPInfoOf(client)
					return err == nil && info.State == tcpstate.FinWait2
				})
				specimens[2].some = 0
				hold(t, sockdiag.TCP, specimens, asks()...)
			}
		})
	}
	t.Run("md5", func(t *testing.T) {
		for _, f := range bothFamilies {
			listener := newSocket(t, "TCP", f, unix.SOCK_STREAM, unix.IPPROTO_TCP).bind(t, f).addMD5Key(t, f).listen(t)
			client := newSocket(t, "TCP", f, unix.SOCK_STREAM, unix.IPPROTO_TCP).addMD5Key(t, f)
			server := listener.dial(t, client)
			const keys = sockdiag.AttrMD5Keys
			hold(t, sockdiag.TCP, []specimen{
				of(t, "listener", listener, listenRow, keys), of(t, "client", client, tcpRow, keys), of(t, "server", server, tcpRow, keys),
			}, asks()...)
		}
	})
	t.Run("tls", func(t *testing.T) {
		for _, f := range bothFamilies {
			_, client, server := stream(t, "TCP", f, unix.IPPROTO_TCP)
			client.startTLS(t, true)
			server.startTLS(t, false)
			const ulp = sockdiag.AttrULPInfo
			hold(t, sockdiag.TCP, []specimen{of(t, "with keys", client, tcpRow, ulp), of(t, "without keys", server, tcpRow, ulp)}, asks()...)
		}
	})
	t.Run("mptcp", func(t *testing.T) {
		for _, f := range bothFamilies {
			listener, client, server := stream(t, "MPTCP", f, unix.IPPROTO_MPTCP)
			specimens := []specimen{of(t, "listener", listener, mptcpRow, sockdiag.AttrV6Only), of(t, "client", client, mptcpRow, 0), of(t, "server", server, mptcpRow, 0)}
			if f == sockdiag.IPv4 {
				specimens[0].some = 0
			}
			hold(t, sockdiag.MPTCP, specimens, asks()...)
			// Their subflows have the same addresses.
			for i, fd := range []fdConn{listener, client, server} {
				id := idOf(t, fd)
				s := &specimens[i]
				s.is = func(s *sockdiag.Socket) bool { return s.Local == id.Local && s.Remote == id.Remote }
				s.row, s.some = tcpRow, sockdiag.AttrULPInfo
				if i == 0 {
					s.row = listenRow
				}
			}
			hold(t, sockdiag.TCP, specimens, asks()...)
		}
	})
	t.Run("mptcp numbers", testSubflowNumbers)
	for _, p := range []sockdiag.Protocol{sockdiag.UDP, sockdiag.UDPLite} {
		t.Run(p.String(), func(t *testing.T) {
			if p == sockdiag.UDPLite {
				// Gone for good: no skip, which would need a reason in each newer kernel.
				_, err := trySocket(t, sockdiag.IPv4, unix.SOCK_DGRAM, int(p))
				if gone := errors.Is(err, unix.EPROTONOSUPPORT); gone != release.AtLeast(7, 1) {
					t.Fatalf("Linux %v: socket: %v", release, err)
				} else if gone {
					return
				}
			}
			var specimens []specimen
			for _, f := range bothFamilies {
				bound, connected := datagrams(t, p.String(), f, unix.SOCK_DGRAM, int(p))
				only := sockdiag.AttrV6Only
				if f == sockdiag.IPv4 {
					only = 0
				}
				specimens = append(specimens, of(t, "bound", bound, udpRow, only), of(t, "connected", connected, udpRow, 0))
			}
			hold(t, p, specimens, asks()...)
		})
	}
	t.Run("raw", func(t *testing.T) {
		var specimens []specimen
		for _, f := range bothFamilies {
			bound, connected := datagrams(t, "raw sockets", f, unix.SOCK_RAW, protocolRaw)
			only := sockdiag.AttrV6Only
			if f == sockdiag.IPv4 {
				only = 0
			}
			specimens = append(specimens, of(t, "bound", bound, rawRow, only), of(t, "connected", connected, rawRow, 0))
		}
		hold(t, sockdiag.Raw, specimens, asks()...)
	})
	t.Run("sctp", func(t *testing.T) {
		for _, f := range bothFamilies {
			listener, client, server := stream(t, "SCTP", f, unix.IPPROTO_SCTP)
			var specimens []specimen
			for i, fd := range []fdConn{listener, client, server} {
				endpoint := of(t, []string{"listener", "client", "server"}[i], fd, sctpRow, 0)
				association := endpoint
				if i == 0 && f == sockdiag.IPv6 {
					endpoint.some = sockdiag.AttrV6Only
				}
				mine := endpoint.is
				endpoint.is = func(s *sockdiag.Socket) bool { return mine(s) && !s.Attrs.Has(sockdiag.AttrPeers) }
				specimens = append(specimens, endpoint)
				if i == 0 {
					continue
				}
				association.name += "'s association"
				association.is = func(s *sockdiag.Socket) bool { return mine(s) && s.Attrs.Has(sockdiag.AttrPeers) }
				association.some = sockdiag.AttrPeers | sockdiag.AttrCongestion
				specimens = append(specimens, association)
			}
			hold(t, sockdiag.SCTP, specimens, asks()...)
		}
	})
	t.Run("bpf", testBPFStorages)
}

// testBPFStorages asks for what not everybody may ask for. Whoever may not gets no
// row. It is the sender who must be capable.
func testBPFStorages(t *testing.T) {
	storage, err := storageMap(t)
	if errors.Is(err, fs.ErrPermission) {
		// So says the documentation of the root of a container.
		_, err := sockdiag.Collect(dial(t).Dump(t.Context(), sockdiag.Query{Attrs: sockdiag.AttrBPFStorages}))
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a dump without CAP_BPF: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	const some = sockdiag.AttrBPFStorages
	with := func(t *testing.T, name string, fd fdConn, row int) specimen {
		return of(t, name, fd.store(t, storage, uint32(fd)), row, some)
	}
	holdStorages := func(t *testing.T, p sockdiag.Protocol, specimens []specimen) {
		hold(t, p, specimens, some, some|attributes())
	}
	t.Run("tcp", func(t *testing.T) {
		for _, f := range bothFamilies {
			listener, client, server := stream(t, "TCP", f, unix.IPPROTO_TCP)
			specimens := []specimen{with(t, "listener", listener, listenRow), with(t, "client", client, tcpRow), of(t, "server", server, tcpRow, 0)}
			if hasBoundInactive(t) {
				bound := newSocket(t, "TCP", f, unix.SOCK_STREAM, unix.IPPROTO_TCP).bind(t, f)
				specimens = append(specimens, with(t, "bound", bound, boundRow))
			}
			holdStorages(t, sockdiag.TCP, specimens)
		}
	})
	t.Run("udp", func(t *testing.T) {
		_, connected := datagrams(t, "UDP", sockdiag.IPv4, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
		holdStorages(t, sockdiag.UDP, []specimen{with(t, "connected", connected, udpRow)})
	})
	t.Run("raw", func(t *testing.T) {
		_, connected := datagrams(t, "raw sockets", sockdiag.IPv4, unix.SOCK_RAW, protocolRaw)
		holdStorages(t, sockdiag.Raw, []specimen{with(t, "connected", connected, rawRow)})
	})
	t.Run("mptcp", func(t *testing.T) {
		listener, client, _ := stream(t, "MPTCP", sockdiag.IPv4, unix.IPPROTO_MPTCP)
		holdStorages(t, sockdiag.MPTCP, []specimen{with(t, "listener", listener, mptcpRow), with(t, "client", client, mptcpRow)})
	})
	t.Run("sctp", func(t *testing.T) {
		listener, _, _ := stream(t, "SCTP", sockdiag.IPv4, unix.IPPROTO_SCTP)
		holdStorages(t, sockdiag.SCTP, []specimen{with(t, "listener", listener, sctpRow)})
	})
}

// testSubflowNumbers: the sequence numbers of an MPTCP subflow are for those with
// CAP_NET_ADMIN, and its token is for whoever gets AttrULPInfo.
func testSubflowNumbers(t *testing.T) {
	_, client, server := stream(t, "MPTCP", sockdiag.IPv4, unix.IPPROTO_MPTCP)
	if _, err := unix.Write(int(client), make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "100 bytes", func() bool {
		n, _ := unix.Read(int(server), make([]byte, 200))
		return n == 100
	})
	subflow := idOf(t, server)
	subflow.Protocol, subflow.Cookie, subflow.Token = sockdiag.TCP, 0, 0
	for _, w := range whos {
		c := dialAs(t, w.opener)
		as(t, w.sender, func() {
			s, err := c.Lookup(t.Context(), subflow, sockdiag.AttrULPInfo)
			admin := w.opener && w.sender
			switch {
			case err != nil:
				t.Errorf("%s: %v", w.name, err)
			case s.Extra == nil || !s.Attrs.Has(sockdiag.AttrULPInfo):
				if admin || runningRelease(t).AtLeast(6, 15) {
					t.Errorf("%s: attributes %v", w.name, s.Attrs)
				}
			default:
				m := s.Extra.ULP.MPTCP
				numbers := m.MapSeq != 0 && m.MapDataLen != 0 && m.SSNOffset != 0
				none := m.RelWriteSeq == 0 && m.MapSeq == 0 && m.MapSubflowSeq == 0 && m.SSNOffset == 0 && m.MapDataLen == 0
				if m.TokenLocal == 0 || admin && !numbers || !admin && !none {
					t.Errorf("%s: %+v", w.name, m)
				}
			}
		})
	}
}
