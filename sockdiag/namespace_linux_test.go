package sockdiag_test

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
)

// Namespace is where the Client was dialled, whichever thread asks, and outlives
// the Client.
func TestNamespace(t *testing.T) {
	nstest.RequireNamespace(t)
	other := nstest.NewNamespace(t)
	inode := func(fd uintptr) uint64 {
		var st unix.Stat_t
		if err := unix.Fstat(int(fd), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	want := inode(uintptr(other.FD()))
	clients := map[string]*sockdiag.Client{}
	var err error
	if clients["by descriptor"], err = sockdiag.Dial(&sockdiag.Config{NetNS: other.FD()}); err != nil {
		t.Fatal(err)
	}
	other.Do(func() { clients["by thread"], err = sockdiag.Dial(nil) })
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range clients {
		ns, err := c.Namespace()
		if err != nil {
			t.Fatal(name, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(name, err)
		}
		if got := inode(ns.Fd()); got != want {
			t.Errorf("%s: namespace %d, want %d", name, got, want)
		}
		if err := ns.Close(); err != nil {
			t.Error(name, err)
		}
		var op *sockdiag.OpError
		if ns, err := c.Namespace(); ns != nil || !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) || op.Op != "namespace" {
			t.Errorf("%s, closed: %v, %v", name, ns, err)
		}
	}
}

// Close at the same time is no race: the answer is a namespace or net.ErrClosed.
func TestNamespaceWhileClosing(t *testing.T) {
	nstest.RequireNamespace(t)
	for range 20 {
		c, err := sockdiag.Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- c.Close() }()
		ns, err := c.Namespace()
		switch {
		case err == nil:
			err = ns.Close()
		case errors.Is(err, net.ErrClosed):
			err = nil
		}
		if err = errors.Join(err, <-done); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
	}
}
