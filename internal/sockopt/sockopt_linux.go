// Package sockopt reads socket options of any length.
package sockopt

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Get reads option name of the socket into b, and returns how many bytes the
// kernel wrote: fewer than len(b) where its option is shorter.
func Get(fd uintptr, level, name int, b []byte) (n int, err error) {
	size := uint32(len(b))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0, os.NewSyscallError("getsockopt", e)
	}
	return int(size), nil
}
