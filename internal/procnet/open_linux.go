package procnet

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/netns"
)

// The thread's own: /proc/net is /proc/self/net, which is that of the first
// thread of the process, wherever the one that opens it may be.
const (
	threadNet = "/proc/thread-self/net"
	threadNS  = "/proc/thread-self/ns/net"
)

// Open opens the files (all of them, if none is named) of the network namespace
// of a descriptor, which is not needed any longer when Open returns. Whether a
// file is there is as for OpenFS. The namespace lives on at least until the
// Reader is closed.
//
// The calling thread's own namespace takes no privilege, another takes what
// netns.Do says; without it the error matches fs.ErrPermission. Where /proc is
// missing it matches fs.ErrNotExist. The files have no mark of their namespace,
// but the thread's entry in /proc has, and it is compared with the descriptor: a
// Reader is of the right namespace, or Open fails.
func Open(ns int, files ...File) (*Reader, error) {
	var r *Reader
	err := netns.Do(ns, func() (err error) {
		if err = verify(ns); err == nil {
			r, err = OpenFS(os.DirFS(threadNet), files...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

var errOtherNamespace = errors.New("this /proc does not show the thread in the namespace that it has entered")

// verify checks that /proc shows this thread in the namespace: it could be of
// other processes, or not the kernel's.
func verify(ns int) error {
	var want, have unix.Stat_t
	if err := unix.Fstat(ns, &want); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	err := unix.Stat(threadNS, &have)
	if err == nil && (have.Dev != want.Dev || have.Ino != want.Ino) {
		err = errOtherNamespace
	}
	if err != nil {
		return &fs.PathError{Op: "stat", Path: threadNS, Err: err}
	}
	return nil
}
