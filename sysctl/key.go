package sysctl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// ErrNoProcSys says that there is no /proc/sys/net to read from: /proc is not
// mounted, or shows only processes (systemd's ProcSubset=pid), or a sandbox
// hides it. It tells nothing about the kernel, so it is not an
// [fs.ErrNotExist], which a key that the kernel lacks is.
var ErrNoProcSys = errors.New("no /proc/sys/net here")

// Key is one kernel setting whose value is a T. Get one from the variables of
// this package. Keys are comparable and can be copied and used from several
// goroutines at once. The zero Key reads nothing: its methods return an error
// that matches [fs.ErrInvalid], and an empty [Info].
type Key[T any] struct {
	def *definition[T]
}

// definition is never written to after newKey.
type definition[T any] struct {
	info  Info
	parse func(text string) (T, error)

	// Both may be nil. They look only at the file system that they are given.
	byDefault func(fsys fs.FS) (value T, known bool)
	trap      func(value T, fsys fs.FS) (Trap, bool)
}

// newKey makes a Key from its name, which infos has an entry for, from the
// parser of its value, and from what defaults.go and traps.go know about it.
func newKey[T any](name string, parse func(string) (T, error), options ...option[T]) Key[T] {
	def := &definition[T]{info: infoOf(name), parse: parse}
	for _, set := range options {
		set(def)
	}
	return Key[T]{def}
}

// option sets a field of a definition.
type option[T any] func(*definition[T])

// Get reads the setting from /proc/sys, in the network namespace of the calling
// thread. Its errors are those that the package comment lists. On systems other
// than Linux the error matches [errors.ErrUnsupported].
func (k Key[T]) Get() (T, error) {
	if runtime.GOOS != "linux" && runtime.GOOS != "android" && k.def != nil {
		var zero T
		return zero, fmt.Errorf("sysctl %s: %w", k.def.info.Name, errors.ErrUnsupported)
	}
	return k.GetFS(os.DirFS("/proc/sys"))
}

// GetFS reads the setting from a file system whose root stands for /proc/sys:
// that of [InNamespace], os.DirFS of a copy, an fstest.MapFS. Its errors are
// those that the package comment lists; they do not depend on the operating
// system. Beside an error the value is the zero T.
func (k Key[T]) GetFS(fsys fs.FS) (T, error) {
	var zero T
	if k.def == nil {
		return zero, fmt.Errorf("sysctl: zero Key: %w", fs.ErrInvalid)
	}
	info := &k.def.info
	if fsys == nil {
		return zero, fmt.Errorf("sysctl %s: nil file system: %w", info.Name, fs.ErrInvalid)
	}
	raw, err := readFile(fsys, info.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return zero, missing(fsys, info, err)
	}
	if err != nil {
		return zero, fmt.Errorf("sysctl %s: %w", info.Name, err)
	}
	value, err := k.def.parse(string(raw))
	if err != nil {
		return zero, &ParseError{Key: info.Name, Text: string(raw), Err: err}
	}
	return value, nil
}

// missing tells a key that the kernel lacks from a /proc/sys that is not there.
func missing(fsys fs.FS, info *Info, err error) error {
	if _, statErr := fs.Stat(fsys, "net"); errors.Is(statErr, fs.ErrNotExist) {
		// The cause goes in as text: it matches fs.ErrNotExist, and
		// this error must not.
		return fmt.Errorf("sysctl %s: %w: %s", info.Name, ErrNoProcSys, err.Error())
	}
	switch {
	case info.Since == "": // its entry was forgotten
		return fmt.Errorf("sysctl %s: not in this kernel: %w", info.Name, err)
	case info.Removed != "":
		return fmt.Errorf("sysctl %s: gone since Linux %s: %w", info.Name, info.Removed, err)
	case strings.HasPrefix(info.Path, "net/netfilter/"):
		return fmt.Errorf("sysctl %s: not in this kernel (it came with Linux %s), or the module nf_conntrack is not loaded: %w",
			info.Name, info.Since, err)
	case info.Scope == Host:
		return fmt.Errorf("sysctl %s: not in this kernel (it came with Linux %s) or not in this network namespace: %w",
			info.Name, info.Since, err)
	default:
		return fmt.Errorf("sysctl %s: not in this kernel (it came with Linux %s): %w", info.Name, info.Since, err)
	}
}

// Info returns what is known about the setting, whatever the running kernel.
func (k Key[T]) Info() Info {
	if k.def == nil {
		return Info{}
	}
	return k.def.info
}

// GetAny is [Key.Get] for those who do not know T; see [AnyKey].
func (k Key[T]) GetAny() (any, error) { return anyOf(k.Get()) }

// GetAnyFS is [Key.GetFS] for those who do not know T; see [AnyKey].
func (k Key[T]) GetAnyFS(fsys fs.FS) (any, error) { return anyOf(k.GetFS(fsys)) }

// DefaultFS returns what the kernel gives the setting by itself, and reports
// false where that cannot be told: it depends on the memory of the host, on how
// the kernel was built or on the parent of a namespace. fsys is as for
// [Key.GetFS]; the kernel's release and the size of its hash table are read from
// it, and nothing else. A kernel that its distributor has changed may start with
// another value.
func (k Key[T]) DefaultFS(fsys fs.FS) (value T, known bool) {
	if k.def == nil || k.def.byDefault == nil {
		return value, false
	}
	return k.def.byDefault(fsys)
}

// TrapFS judges a value, whether it was read or is about to be set: it reports
// true if the value does something other than it seems to, or harm that is
// seldom meant. fsys is as for [Key.GetFS]; some values are judged by other
// settings, and those that cannot be read from it are left out of account.
func (k Key[T]) TrapFS(value T, fsys fs.FS) (Trap, bool) {
	if k.def == nil || k.def.trap == nil {
		return Trap{}, false
	}
	return k.def.trap(value, fsys)
}

// DefaultAnyFS is [Key.DefaultFS] for those who do not know T; see [AnyKey].
func (k Key[T]) DefaultAnyFS(fsys fs.FS) (value any, known bool) {
	if value, known := k.DefaultFS(fsys); known {
		return value, true
	}
	return nil, false
}

// TrapAnyFS is [Key.TrapFS] for those who do not know T; see [AnyKey].
func (k Key[T]) TrapAnyFS(value any, fsys fs.FS) (Trap, bool) {
	v, ok := value.(T)
	if !ok {
		return Trap{}, false
	}
	return k.TrapFS(v, fsys)
}

func (Key[T]) sealed() {}

func anyOf[T any](value T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return value, nil
}

// AnyKey is a [Key] of any type, as [Keys] and [Lookup] return it. A type
// assertion or a switch leads back to the Key: key.(sysctl.Key[time.Duration]).
// Only Keys are AnyKeys.
type AnyKey interface {
	// Info returns what is known about the setting.
	Info() Info
	// GetAny reads the setting as Key.Get does. The value has the type of
	// the Key; beside an error it is nil.
	GetAny() (any, error)
	// GetAnyFS reads the setting as Key.GetFS does. The value has the type
	// of the Key; beside an error it is nil.
	GetAnyFS(fsys fs.FS) (any, error)
	// DefaultAnyFS returns the kernel's own value as Key.DefaultFS does. It
	// has the type of the Key; where it is not known it is nil.
	DefaultAnyFS(fsys fs.FS) (value any, known bool)
	// TrapAnyFS judges a value as Key.TrapFS does. One of another type than
	// the Key's is no trap.
	TrapAnyFS(value any, fsys fs.FS) (Trap, bool)

	sealed()
}

// ParseError is the error for a file whose text is not a value of the key's
// type.
type ParseError struct {
	Key  string // the name of the key, such as "net.ipv4.tcp_fin_timeout"
	Text string // the whole text of the file

	// Err is what is wrong with it; strconv.ErrSyntax and strconv.ErrRange
	// are among the causes.
	Err error
}

// Error names the key and shows the text, of a long one the beginning.
func (e *ParseError) Error() string {
	text, more := e.Text, ""
	if len(text) > 60 {
		text, more = text[:60], "..."
	}
	return fmt.Sprintf("sysctl %s: bad value %q%s: %v", e.Key, text, more, e.Err)
}

// Unwrap returns Err.
func (e *ParseError) Unwrap() error { return e.Err }

// maxText bounds what readFile reads. The longest text of any setting, a list
// of every other port, has 190 KB; asked for several megabytes, the kernel
// answers ENOMEM instead.
const maxText = 1 << 20

// readFile reads a file of /proc/sys whole. Unlike os.ReadFile and fs.ReadFile
// it never takes the rest of a text with a second read: many of these files
// hold no more after the first, however much was left, so that a list of ports
// of more than 512 bytes would be cut without an error.
func readFile(fsys fs.FS, path string) ([]byte, error) {
	for size := 4 << 10; size <= maxText; size *= 16 {
		buf := make([]byte, size)
		n, err := readOnce(fsys, path, buf)
		if err != nil || n < size {
			return buf[:n], err
		}
	}
	return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("longer than %d bytes", maxText)}
}

// readOnce opens the file anew and reads until it ends or buf is full.
func readOnce(fsys fs.FS, path string, buf []byte) (int, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	n, err := io.ReadFull(f, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, nil
	}
	return n, err
}
