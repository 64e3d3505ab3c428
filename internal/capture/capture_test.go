package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/capture"
)

// kernels reads the recordings that sockdiag is tested with.
func kernels(t *testing.T) []*capture.Kernel {
	t.Helper()
	all, err := capture.LoadAll(os.DirFS("../../sockdiag/testdata"), "captures")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLoadAll(t *testing.T) {
	want := []string{"5.10.262", "6.1.192", "6.12.117", "6.18.15", "6.18.44", "7.3.4"}
	var got []string
	for _, k := range kernels(t) {
		got = append(got, k.Kernel)
		if !strings.HasPrefix(k.Release, strings.Join(strings.Split(k.Kernel, ".")[:2], ".")) {
			t.Errorf("%s: release %q", k.Kernel, k.Release)
		}
		if k.Provenance == "" || k.Arch != "x86_64" || k.ByteOrder != "little" {
			t.Errorf("%s: provenance %q, arch %q, byte order %q", k.Kernel, k.Provenance, k.Arch, k.ByteOrder)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kernels (-want +got)\n%s", diff)
	}
}

// TestRows reads a few fields straight from the recorded bytes: rows and bytes must belong together.
func TestRows(t *testing.T) {
	le := binary.LittleEndian
	addrPort := func(family byte, addr, port []byte) netip.AddrPort {
		n := 16
		if family == 2 {
			n = 4
		}
		a, _ := netip.AddrFromSlice(addr[:n])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	}
	for _, k := range kernels(t) {
		names := []string{
			"tcp4-all", "tcp6-all", "tcp4-ext0", "tcp4-time-wait", "tcp4-syn-recv", "tcp4-bound-inactive", "tcpdiag-legacy",
			"unpriv-tcp4-ext-all", "udp4-all", "udp6-all", "tcp4-destroy-event", "udp4-destroy-event",
		}
		if k.Kernel != "5.10.262" { // Built without MPTCP,
			names = append(names, "mptcp4-all", "mptcp6-all")
		}
		if k.Kernel != "6.18.44" { // and this one without these two.
			names = append(names, "raw4-all", "raw6-all", "sctp4-all", "sctp6-all")
		}
		for _, name := range names {
			c, ok := k.Capture(name)
			if !ok {
				t.Errorf("%s: no capture %s", k.Kernel, name)
				continue
			}
			if c.Event() != (len(c.Request) == 0) {
				t.Errorf("%s %s: request % x", k.Kernel, name, c.Request)
			} else if c.Event() {
			} else if n := le.Uint32(c.Request); int(n) != len(c.Request) {
				t.Errorf("%s %s: request of %d bytes says %d", k.Kernel, name, len(c.Request), n)
			}
			payloads, err := k.Payloads(c)
			if err != nil || len(payloads) != len(c.Rows) {
				t.Errorf("%s %s: %d payloads, %d rows: %v", k.Kernel, name, len(payloads), len(c.Rows), err)
				continue
			}
			for i, p := range payloads {
				got := capture.Row{
					Type: c.Rows[i].Type, Flags: c.Rows[i].Flags, Len: uint32(len(p)) + 16,
					State: p[1], Timer: p[2], Retrans: p[3],
					Local: addrPort(p[0], p[8:], p[4:]), Remote: addrPort(p[0], p[24:], p[6:]),
					Interface: le.Uint32(p[40:]), Cookie: le.Uint64(p[44:]), ExpiresMS: le.Uint32(p[52:]),
					RecvQueue: le.Uint32(p[56:]), SendQueue: le.Uint32(p[60:]), Inode: le.Uint32(p[68:]),
					Attrs: attrs(p[72:]), Socket: c.Rows[i].Socket,
				}
				if diff := cmp.Diff(c.Rows[i], got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
					t.Errorf("%s %s: row %d (-row +bytes)\n%s", k.Kernel, name, i, diff)
				}
			}
		}
	}
}

func attrs(b []byte) (all []capture.Attr) {
	for len(b) >= 4 {
		n := int(binary.LittleEndian.Uint16(b))
		all = append(all, capture.Attr{Type: binary.LittleEndian.Uint16(b[2:]), Len: n - 4})
		b = b[min(len(b), (n+3)&^3):]
	}
	return all
}

// TestSockets holds the dumps against what the recording program knew of its sockets.
func TestSockets(t *testing.T) {
	for _, k := range kernels(t) {
		seen := make(map[string]bool)
		for _, c := range k.Captures {
			for _, r := range c.Rows {
				s, ok := k.Socket(r.Cookie)
				if !ok {
					if r.Socket != "" {
						t.Errorf("%s %s: no socket with cookie %d, of %s", k.Kernel, c.Name, r.Cookie, r.Socket)
					}
					continue
				}
				seen[s.Name] = true
				// A closed socket has no inode, and another state. Other protocols have no TCP_INFO to tell the state,
				// and an association of an IPv6 SCTP socket has zeros where its address should be, if that is IPv4's.
				state := s.State == r.State || len(s.TCPInfo) == 0 || c.Event()
				local := s.Local == r.Local || s.Protocol == 132 && r.Local.Addr().IsUnspecified() && s.Local.Port() == r.Local.Port()
				if s.Name != r.Socket || !local || s.Inode != r.Inode && !c.Event() || !state || s.Protocol != c.Protocol() {
					t.Errorf("%s %s: row %+v is of socket %+v", k.Kernel, c.Name, r, s)
				}
				if s.Remote.IsValid() && s.Remote != r.Remote {
					t.Errorf("%s %s: remote %v of %s, in the row %v", k.Kernel, c.Name, s.Remote, s.Name, r.Remote)
				}
			}
		}
		for _, s := range k.Sockets {
			tcp := s.Protocol == 6 || s.Protocol == 262
			known := s.Cookie != 0
			if s.Protocol == 0 || known && (s.Local.Port() == 0 || s.Inode == 0) ||
				tcp && known && (len(s.TCPInfo) < 232 || s.TCPInfo[0] != s.State || s.Congestion == "") {
				t.Errorf("%s: incomplete: %+v", k.Kernel, s)
			}
			// A bound socket is dumped from 6.8 on.
			old := strings.HasPrefix(k.Kernel, "5.") || strings.HasPrefix(k.Kernel, "6.1.")
			if s.Cookie != 0 && !seen[s.Name] && (s.State != 7 || !old) {
				t.Errorf("%s: %s is in no dump", k.Kernel, s.Name)
			}
		}
	}
}

func TestMessages(t *testing.T) {
	k := &capture.Kernel{ByteOrder: "big"}
	msg := func(n uint32, typ uint16, payload ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, n)
		b = binary.BigEndian.AppendUint16(b, typ)
		b = append(b, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9)
		return append(b, payload...)
	}
	datagram := append(msg(17, 20, 'a', 0, 0, 0), msg(18, 3, 'b', 'c')...)
	var got []capture.Message
	for m, err := range k.Messages(datagram) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	want := []capture.Message{
		{Type: 20, Flags: 2, Seq: 7, PortID: 9, Payload: []byte("a")},
		{Type: 3, Flags: 2, Seq: 7, PortID: 9, Payload: []byte("bc")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, bad := range map[string][]byte{
		"short header": msg(16, 20)[:15],
		"short length": msg(15, 20),
		"long length":  msg(17, 20),
		"huge length":  msg(0xffffffff, 20),
	} {
		var errs int
		for _, err := range k.Messages(append(msg(16, 20), bad...)) {
			if err != nil {
				errs++
			}
		}
		if errs != 1 {
			t.Errorf("%s: %d errors", name, errs)
		}
	}
	for range k.Messages(datagram) {
		break // Stops early without a panic.
	}
}

func TestLoadErrors(t *testing.T) {
	pack := func(s string) *fstest.MapFile {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(s))
		_ = z.Close()
		return &fstest.MapFile{Data: b.Bytes()}
	}
	fsys := fstest.MapFS{
		"plain/x.json.gz": {Data: []byte("{}")},
		"json/x.json.gz":  pack("{"),
		"order/x.json.gz": pack(`{"byteOrder":"middle"}`),
		"field/x.json.gz": pack(`{"byteOrder":"big","captured":[]}`),
		"hex/x.json.gz":   pack(`{"byteOrder":"big","captures":[{"request":"0g"}]}`),
		"attrs/x.json.gz": pack(`{"byteOrder":"big","captures":[{"rows":[{"attrs":"1"}]}]}`),
	}
	for _, dir := range []string{"plain", "json", "order", "field", "hex", "attrs"} {
		if _, err := capture.LoadAll(fsys, dir); err == nil {
			t.Errorf("%s: no error", dir)
		}
	}
	if _, err := capture.LoadAll(fsys, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestHostOrder(t *testing.T) {
	// From the numbers of the machine in memory: its first byte is the low one, or it is not.
	host := "big"
	if binary.NativeEndian.AppendUint32(nil, 1)[0] == 1 {
		host = "little"
	}
	for _, order := range []string{"big", "little"} {
		if got := (&capture.Kernel{ByteOrder: order}).HostOrder(); got != (order == host) {
			t.Errorf("recorded %s, here %s: HostOrder says %v", order, host, got)
		}
	}
}
