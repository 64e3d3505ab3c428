// Package capture reads recorded replies of real kernels, with the truth about them beside, as fixtures for tests.
//
// A file holds one kernel: JSON, compressed with gzip (zcat shows it). Its first line says where it is from. The rows
// were decoded by the program that made the recording, which shares no code with this module, and the sockets are what
// that program knew of each from its own calls.
package capture

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Kernel is what one kernel said.
type Kernel struct {
	Provenance string `json:"provenance"`
	Kernel     string `json:"kernel"`  // The upstream version, as in "6.12.117".
	Release    string `json:"release"` // uname -r.
	Version    string `json:"version"` // uname -v; empty where it says nothing.
	Arch       string `json:"arch"`
	ByteOrder  string `json:"byteOrder"` // "little" or "big"; see HostOrder.

	Captures []Capture `json:"captures"`
	Sockets  []Socket  `json:"sockets"`
}

// Capture is one request and its whole answer.
type Capture struct {
	Name      string   // As in "tcp4-time-wait". "unpriv-" was asked without any capability; "-event" is a multicast.
	Request   []byte   // As sent, with its nlmsghdr. Events have none.
	Datagrams [][]byte // As received; NLMSG_DONE comes last, but for events.
	Rows      []Row    // The messages that are about a socket, in the order received.
}

// Protocol is the IPPROTO number of the rows. It is not in the messages, but in the capture's name.
func (c *Capture) Protocol() uint16 {
	for prefix, p := range map[string]uint16{"udp": 17, "sctp": 132, "raw": 255, "mptcp": 262} {
		if strings.HasPrefix(c.Name, prefix) {
			return p
		}
	}
	return 6
}

// Event reports whether the rows are multicasts about sockets that were closed.
func (c *Capture) Event() bool { return strings.HasSuffix(c.Name, "-event") }

// Row is one message about a socket.
type Row struct {
	Type  uint16 // nlmsg_type: 20, or 18 of a legacy request.
	Flags uint16 // nlmsg_flags
	Len   uint32 // nlmsg_len

	State     uint8
	Timer     uint8
	Retrans   uint8
	ExpiresMS uint32
	Local     netip.AddrPort
	Remote    netip.AddrPort // Address and port zero, of the socket's family, without a peer.
	Interface uint32
	RecvQueue uint32
	SendQueue uint32
	Inode     uint32
	Cookie    uint64
	Attrs     []Attr // In the order received.
	Socket    string // The name of the Socket with this cookie; empty for those that had no descriptor.
}

// Attr is an attribute's type and the length of its payload.
type Attr struct {
	Type uint16
	Len  int
}

// Socket is a socket that the recording program held.
type Socket struct {
	Name       string         // As in "tcp4-syn-sent".
	Family     uint8          // AF_INET 2 or AF_INET6 10.
	Protocol   uint16         // IPPROTO_TCP 6, UDP 17, SCTP 132, RAW 255, MPTCP 262.
	Local      netip.AddrPort // getsockname
	Remote     netip.AddrPort // getpeername; the zero AddrPort where that failed.
	State      uint8          // The first byte of TCPInfo. 7, CLOSE, for a bound socket; 0 without TCPInfo.
	Cookie     uint64         // SO_COOKIE; 0 for a socket that was closed, of which only the name is known.
	Inode      uint32         // fstat
	Congestion string         // TCP_CONGESTION, of TCP and MPTCP.
	TCPInfo    []byte         // getsockopt(TCP_INFO), of TCP and MPTCP, a little before the dumps: clocks and ages have moved on.
}

// HostOrder reports whether this machine has the byte order of the recordings. Decoders of the host's order cannot
// read them where it has not.
func (k *Kernel) HostOrder() bool {
	return (binary.NativeEndian.Uint16([]byte{1, 0}) == 1) == (k.ByteOrder == "little")
}

// Capture finds a capture by its name.
func (k *Kernel) Capture(name string) (*Capture, bool) {
	for i := range k.Captures {
		if k.Captures[i].Name == name {
			return &k.Captures[i], true
		}
	}
	return nil, false
}

// Socket finds the socket with the cookie.
func (k *Kernel) Socket(cookie uint64) (*Socket, bool) {
	for i := range k.Sockets {
		if cookie != 0 && k.Sockets[i].Cookie == cookie {
			return &k.Sockets[i], true
		}
	}
	return nil, false
}

// LoadAll reads every kernel in a folder, in the order of the file names. A folder without any is an error.
func LoadAll(fsys fs.FS, dir string) ([]*Kernel, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.json.gz"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "find captures", Path: dir, Err: fs.ErrNotExist}
	}
	var all []*Kernel
	for _, name := range names {
		k, err := Load(fsys, name)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// Load reads one file.
func Load(fsys fs.FS, name string) (*Kernel, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	dec := json.NewDecoder(z)
	dec.DisallowUnknownFields()
	var k Kernel
	if err := dec.Decode(&k); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if k.ByteOrder != "little" && k.ByteOrder != "big" {
		return nil, fmt.Errorf("%s: byte order %q", name, k.ByteOrder)
	}
	return &k, nil
}

// UnmarshalJSON reads the file's form, in which bytes are hexadecimal.
func (c *Capture) UnmarshalJSON(b []byte) error {
	var raw struct {
		Name      string
		Request   hexBytes
		Datagrams []hexBytes
		Rows      []Row
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*c = Capture{Name: raw.Name, Request: raw.Request, Rows: raw.Rows}
	for _, d := range raw.Datagrams {
		c.Datagrams = append(c.Datagrams, d)
	}
	return nil
}

// UnmarshalJSON reads the file's form, in which the attributes are one string: "8:1 5:1".
func (r *Row) UnmarshalJSON(b []byte) error {
	type plain Row // Without this method.
	raw := struct {
		*plain
		Attrs string
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	r.Attrs = nil
	for _, s := range strings.Fields(raw.Attrs) {
		typ, size, _ := strings.Cut(s, ":")
		t, err := strconv.ParseUint(typ, 10, 16)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(size, 10, 16)
		if err != nil {
			return err
		}
		r.Attrs = append(r.Attrs, Attr{uint16(t), int(n)})
	}
	return nil
}

// UnmarshalJSON reads the file's form, in which bytes are hexadecimal.
func (s *Socket) UnmarshalJSON(b []byte) error {
	type plain Socket
	raw := struct {
		*plain
		TCPInfo hexBytes
	}{plain: (*plain)(s)}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	s.TCPInfo = raw.TCPInfo
	return nil
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

// Message is one netlink message.
type Message struct {
	Type, Flags uint16
	Seq, PortID uint32
	Payload     []byte // What follows the header; it points into the datagram.
}

// Message types that are not about a socket. From include/uapi/linux/netlink.h.
const (
	TypeError = 2
	TypeDone  = 3
)

// IsSocket reports whether the message is about a socket: its payload is an inet_diag_msg and attributes.
func (m Message) IsSocket() bool { return m.Type != TypeError && m.Type != TypeDone }

// headerLen is sizeof(struct nlmsghdr).
const headerLen = 16

// Messages walks the messages of a datagram in the kernel's byte order. What does not parse is an error, and last.
func (k *Kernel) Messages(datagram []byte) iter.Seq2[Message, error] {
	var order binary.ByteOrder = binary.LittleEndian
	if k.ByteOrder == "big" {
		order = binary.BigEndian
	}
	return func(yield func(Message, error) bool) {
		for b := datagram; len(b) > 0; {
			if len(b) < headerLen {
				yield(Message{}, fmt.Errorf("%d bytes after the last message", len(b)))
				return
			}
			n := order.Uint32(b)
			if n < headerLen || uint64(n) > uint64(len(b)) {
				yield(Message{}, fmt.Errorf("message of %d bytes where %d are left", n, len(b)))
				return
			}
			m := Message{
				Type: order.Uint16(b[4:]), Flags: order.Uint16(b[6:]),
				Seq: order.Uint32(b[8:]), PortID: order.Uint32(b[12:]),
				Payload: b[headerLen:n:n],
			}
			if !yield(m, nil) {
				return
			}
			// Messages start at multiples of four.
			b = b[min(uint64(len(b)), (uint64(n)+3)&^3):]
		}
	}
}

// Payloads collects the payloads of the messages that are about a socket: payload i is of row i.
func (k *Kernel) Payloads(c *Capture) ([][]byte, error) {
	var all [][]byte
	for i, d := range c.Datagrams {
		for m, err := range k.Messages(d) {
			if err != nil {
				return all, fmt.Errorf("%s: datagram %d: %w", c.Name, i, err)
			}
			if m.IsSocket() {
				all = append(all, m.Payload)
			}
		}
	}
	return all, nil
}
