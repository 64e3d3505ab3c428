package sockdiag

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func runningRelease() (Release, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Release{}, os.NewSyscallError("uname", err)
	}
	text := unix.ByteSliceToString(u.Release[:])
	// Go itself needs Linux 3.2, so 2.6 is a pretence of uname's. The file does
	// not take part in it.
	if strings.HasPrefix(text, "2.6.") {
		if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
			text = strings.TrimSpace(string(b))
		}
	}
	return ParseRelease(text)
}
