package sysctl

import (
	"io/fs"
	"os"

	"github.com/seed16c515c6/timewait/internal/netns"
)

// InNamespace returns /proc/sys as it looks from inside the network namespace
// of a descriptor, such as one of /proc/PID/ns/net or /run/netns/NAME, for use
// with [Key.GetFS] from any thread. Only files below net differ between
// namespaces.
//
// The descriptor is used at each Open, on a thread that enters the namespace
// for it, and must stay open until the last; what was opened stays readable
// after. 0 is descriptor 0, not the caller's namespace. On systems other than
// Linux Open fails with [errors.ErrUnsupported].
//
// The calling thread's own namespace takes no privilege. Any other takes
// CAP_SYS_ADMIN twice: in the user namespace that owns the network namespace,
// and in the caller's own user namespace. Whoever made a rootless user
// namespace has the first, but outside of it not the second. Without both Open
// fails with an error that matches [fs.ErrPermission].
//
// The file system has ReadFile too, so that fs.ReadFile returns long files
// whole.
func InNamespace(netns int) fs.FS {
	return namespaceFS(netns)
}

// namespaceFS is the descriptor of the namespace.
type namespaceFS int

// Open implements [fs.FS].
func (ns namespaceFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	var f *os.File
	var openErr error
	if err := netns.Do(int(ns), func() error {
		f, openErr = os.Open("/proc/sys/" + name)
		return nil
	}); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if openErr != nil {
		return nil, openErr
	}
	return f, nil
}

// ReadFile implements [fs.ReadFileFS].
func (ns namespaceFS) ReadFile(name string) ([]byte, error) {
	return readFile(ns, name)
}
