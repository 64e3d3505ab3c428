package sockdiag

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// transportNames looks names up by way of a socket, which is of the Client's
// network namespace, whatever the calling thread's is.
type transportNames struct{ transport }

func (t transportNames) interfaceIndex(name string) (uint32, error) {
	index, err := t.InterfaceIndex(name)
	if errors.Is(err, syscall.ENODEV) {
		err = fmt.Errorf("the namespace has no device %q: %w", name, fs.ErrNotExist)
	}
	return index, err
}

func (transportNames) cgroupID(path string) (uint64, error) { return cgroupIDOf(path) }
