// Package procnet reads the counters that the kernel keeps for a network
// namespace, from /proc/net/netstat, snmp, snmp6, sockstat, sockstat6 and
// stat/nf_conntrack.
//
// Everything is found by the names that the kernel prints, so that columns may
// come and go, and a counter that this kernel lacks is told apart from one that
// is zero. Which namespace a file of /proc/net shows is decided when it is
// opened; a Reader keeps its files open and reads them from any thread.
//
// Values are int64, though the kernel prints most as unsigned: "Tcp MaxConn" is
// -1, and a gauge that the kernel sums up from its processors while they change
// can for an instant be below zero, which it prints as 2⁶⁴-1. That one comes out
// as -1 too. A kernel of 32 bits counts to 2³² and starts over, in "Tcp" and
// "TcpExt" at least; such an instant's -1 is 4294967295 there, and stays so.
package procnet

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// File is one of the files. It is printed as its name.
type File uint8

// The files.
const (
	Netstat   File = iota // TcpExt, IpExt, MPTcpExt
	SNMP                  // Ip, Icmp, Tcp, Udp, …
	SNMP6                 // Ip6, Icmp6, Udp6; not where IPv6 is off
	Sockstat              // sockets in use: TCP, UDP, …
	Sockstat6             // the same of IPv6; not where IPv6 is off
	Conntrack             // connection tracking; not without its module
	numFiles
)

// String returns the file's name, as in /proc/net.
func (f File) String() string {
	switch f {
	case Netstat:
		return "netstat"
	case SNMP:
		return "snmp"
	case SNMP6:
		return "snmp6"
	case Sockstat:
		return "sockstat"
	case Sockstat6:
		return "sockstat6"
	case Conntrack:
		return "stat/nf_conntrack"
	}
	return fmt.Sprintf("File(%d)", uint8(f))
}

// Reader reads the counters of one namespace. Its methods may be called at the
// same time. Create it with Open or OpenFS.
type Reader struct {
	files [numFiles]source
}

// OpenFS opens the files (all of them, if none is named) in fsys, which is
// rooted at a /proc/net: os.DirFS, or fstest.MapFS for recorded ones. Those that
// do not exist are left out, and the Reader says so when asked for their
// counters; if none exists the error matches fs.ErrNotExist.
func OpenFS(fsys fs.FS, files ...File) (*Reader, error) {
	if len(files) == 0 {
		files = []File{Netstat, SNMP, SNMP6, Sockstat, Sockstat6, Conntrack}
	}
	r := new(Reader)
	for i := range r.files {
		r.files[i].file = File(i)
		r.files[i].absent = &fs.PathError{Op: "open", Path: File(i).String(), Err: errNotAsked}
	}
	var missing error
	found := false
	for _, f := range files {
		if f >= numFiles {
			return nil, errors.Join(fmt.Errorf("%v: %w", f, fs.ErrInvalid), r.Close())
		}
		switch err := r.files[f].open(fsys); {
		case err == nil:
			found = true
		case errors.Is(err, fs.ErrNotExist):
			r.files[f].absent = err
			missing = errors.Join(missing, err)
		default:
			return nil, errors.Join(err, r.Close())
		}
	}
	if !found {
		return nil, missing
	}
	return r, nil
}

// errNotAsked is about a file that the caller did not name.
var errNotAsked = fmt.Errorf("the Reader was opened without it: %w", fs.ErrInvalid)

// Close closes the files. Reading then fails with fs.ErrClosed. Closing again
// does nothing.
func (r *Reader) Close() error {
	var errs []error
	for i := range r.files {
		errs = append(errs, r.files[i].close())
	}
	return errors.Join(errs...)
}

// Counters are counters and gauges by name. One that is not in the map is one
// that this kernel does not have, or that was not read.
//
//   - Of netstat and snmp the name has the section in front: "TcpExt.TW",
//     "Tcp.CurrEstab".
//   - Of snmp6 it is as the kernel has it: "Ip6InReceives".
//   - Of sockstat and sockstat6 it also has the file: "sockstat.TCP.tw".
//   - Of stat/nf_conntrack it has that file's last name: "nf_conntrack.drop", the sum of
//     all processors.
type Counters map[string]int64

// Counters reads every counter of the Reader's files, one file after the other.
// Files that do not exist are no error. With an error, perhaps several that are
// joined, it returns what could be read: of a file with a line that makes no
// sense, what stands above it.
func (r *Reader) Counters() (Counters, error) {
	all := make(Counters, 512)
	var errs []error
	for i := range r.files {
		f := File(i)
		err := r.files[i].each("", func(section, name []byte, value int64) {
			all[key(f, section, name)] = value
		})
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotAsked) {
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

func key(f File, section, name []byte) string {
	switch f {
	case SNMP6:
		return string(name)
	case Sockstat, Sockstat6:
		return f.String() + "." + string(section) + "." + string(name)
	}
	return string(section) + "." + string(name)
}

// CurrEstab returns "Tcp CurrEstab" of snmp: the connections in ESTABLISHED, of
// IPv4 and IPv6, and on kernels since the middle of 2024 (and older ones with
// that change) those in CLOSE_WAIT. It does not allocate.
func (r *Reader) CurrEstab() (int64, error) {
	var v [1]int64
	err := r.files[SNMP].values("Tcp", currEstab, v[:])
	return v[0], err
}

// TCPSockets is the line "TCP" of sockstat.
type TCPSockets struct {
	InUse    int64 // IPv4 sockets that listen, connect or have a connection; no mini-sockets, no request sockets
	TimeWait int64 // mini-sockets of IPv4 and IPv6: TIME_WAIT, and FIN_WAIT2 of closed sockets

	// Allocated are the full sockets of both families in all namespaces of the host,
	// those in no table among them: merely bound, not yet bound, closed and still open
	// as a descriptor.
	Allocated int64
}

// TCPSockets reads it. It does not allocate.
func (r *Reader) TCPSockets() (TCPSockets, error) {
	var v [3]int64
	err := r.files[Sockstat].values("TCP", tcpSockets, v[:])
	return TCPSockets{InUse: v[0], TimeWait: v[1], Allocated: v[2]}, err
}

// TCP6InUse returns "TCP6 inuse" of sockstat6: IPv6 sockets, v4-mapped ones among
// them, as TCPSockets.InUse has those of IPv4. It does not allocate. The error
// matches fs.ErrNotExist where there is no sockstat6, and so no IPv6.
func (r *Reader) TCP6InUse() (int64, error) {
	var v [1]int64
	err := r.files[Sockstat6].values("TCP6", inUse, v[:])
	return v[0], err
}

// The columns that those look for.
var (
	currEstab  = []string{"CurrEstab"}
	tcpSockets = []string{"inuse", "tw", "alloc"}
	inUse      = []string{"inuse"}
)

const (
	firstBuffer = 4 << 10 // enough for all but netstat
	maxText     = 1 << 20
)

var errTooLong = fmt.Errorf("longer than %d bytes", maxText)

// source is one of the files.
type source struct {
	file   File
	absent error // why it is not there, if it is not

	mu  sync.Mutex
	r   readerAtCloser
	buf []byte
}

type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

func (s *source) open(fsys fs.FS) error {
	if s.r != nil {
		return nil // named twice
	}
	f, err := fsys.Open(s.file.String())
	if err != nil {
		return err
	}
	r, ok := f.(readerAtCloser)
	if !ok {
		_ = f.Close()
		return &fs.PathError{Op: "open", Path: s.file.String(), Err: fmt.Errorf("%T has no ReadAt: %w", f, errors.ErrUnsupported)}
	}
	s.r, s.absent = r, nil
	return nil
}

func (s *source) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r == nil {
		return nil
	}
	err := s.r.Close()
	s.r, s.absent = nil, &fs.PathError{Op: "read", Path: s.file.String(), Err: fs.ErrClosed}
	return err
}

// each reads the file and calls fn for each counter, as scan does.
func (s *source) each(section string, fn func(section, name []byte, value int64)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := s.text()
	if err != nil {
		return err
	}
	return scan(s.file, text, section, fn)
}

// values reads the named columns of a section. Those must all be there.
func (s *source) values(section string, names []string, values []int64) error {
	var have uint
	err := s.each(section, func(_, name []byte, value int64) {
		for i, want := range names {
			if string(name) == want {
				values[i] = value
				have |= 1 << i
			}
		}
	})
	if err != nil {
		clear(values)
		return err
	}
	for i, name := range names {
		if have&(1<<i) == 0 {
			clear(values)
			return &ParseError{File: s.file, Text: section + ": " + name, Err: ErrAbsent}
		}
	}
	return nil
}

// text reads the whole file into the buffer. The kernel writes the text when it
// is read from the start, so a buffer that was too short reads it anew: a text of
// two moments could have a number of each.
func (s *source) text() ([]byte, error) {
	if s.absent != nil {
		return nil, s.absent
	}
	for {
		if s.buf == nil {
			s.buf = make([]byte, firstBuffer)
		}
		n, err := s.r.ReadAt(s.buf, 0)
		switch {
		case err != nil && err != io.EOF:
			return nil, err
		case n < len(s.buf):
			return s.buf[:n], nil
		case n >= maxText:
			return nil, &ParseError{File: s.file, Err: errTooLong}
		}
		s.buf = make([]byte, 2*len(s.buf))
	}
}
