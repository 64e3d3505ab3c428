package nlsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disconnect makes the Conn one that anybody can send to.
func (c *Conn) Disconnect() error {
	c.connected = false
	var errno error
	nobody := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	err := c.rc.Control(func(fd uintptr) {
		if _, _, e := unix.Syscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&nobody)), unsafe.Sizeof(nobody)); e != 0 {
			errno = e
		}
	})
	if err == nil {
		err = errno
	}
	return err
}

// Connect is what Dial does at last.
func (c *Conn) Connect() error { return c.connect() }
