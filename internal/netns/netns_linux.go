package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNS is the calling thread's own namespace. /proc/self/ns/net would be
// that of the thread-group leader.
const threadNS = "/proc/thread-self/ns/net"

// Current opens the calling thread's network namespace.
func Current() (*os.File, error) { return os.Open(threadNS) }

// Dup duplicates the descriptor of a network namespace, and refuses one of
// anything else.
func Dup(fd int) (*os.File, error) {
	// NS_GET_NSTYPE is answered by namespace files alone.
	typ, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	switch {
	case errors.Is(err, unix.EBADF):
		return nil, fmt.Errorf("network namespace descriptor %d: %w", fd, err)
	case err != nil || typ != unix.CLONE_NEWNET:
		return nil, fmt.Errorf("descriptor %d is not of a network namespace: %w", fd, fs.ErrInvalid)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(dup), "network namespace"), nil
}

// Do calls fn on an OS thread that is in the network namespace of descriptor
// fd. A thread that is there already needs no privilege; entering another
// namespace needs CAP_SYS_ADMIN, over it and in the caller's own user namespace,
// and without it the error matches fs.ErrPermission and fn is not called.
//
// fn must not start goroutines that depend on the namespace: they run on other
// threads.
func Do(fd int, fn func() error) error {
	here, err := inside(fd, fn)
	if here || err != nil {
		return err
	}
	// On a goroutine of its own, so that a thread that could not be brought
	// back ends with it and is never used again.
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := Current()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter the network namespace: %w", os.NewSyscallError("setns", err))
			return
		}
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// inside calls fn where the calling thread is in the namespace already, and
// reports whether it is.
func inside(fd int, fn func() error) (here bool, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	same, err := isCurrent(fd)
	if err != nil || !same {
		return false, err
	}
	return true, fn()
}

// isCurrent reports whether fd is of the calling thread's namespace: namespace
// files are equal when device and inode are.
func isCurrent(fd int) (bool, error) {
	var want, have unix.Stat_t
	if err := unix.Fstat(fd, &want); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	if err := unix.Stat(threadNS, &have); err != nil {
		return false, &fs.PathError{Op: "stat", Path: threadNS, Err: err}
	}
	return want.Dev == have.Dev && want.Ino == have.Ino, nil
}
