package nlsock

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// InterfaceIndex returns the index of the device of that name in the socket's
// network namespace, whichever the calling thread's is. The error of a name that
// no device has is syscall.ENODEV.
func (c *Conn) InterfaceIndex(name string) (index uint32, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil || strings.Contains(name, "\x00") {
		return 0, unix.ENODEV // too long for a name, or not all of one
	}
	if cerr := c.rc.Control(func(fd uintptr) {
		err = unix.IoctlIfreq(int(fd), unix.SIOCGIFINDEX, ifr)
	}); cerr != nil {
		return 0, cerr
	}
	return ifr.Uint32(), os.NewSyscallError("ioctl SIOCGIFINDEX", err)
}
