package sockdiag

import (
	"cmp"
	"fmt"
	"strconv"
)

// Release is the version of a Linux kernel, 6.18.44. What a distributor or a release
// candidate adds behind it is not kept: 7.0.0-rc3 counts as 7.0.0.
type Release struct {
	Major, Minor, Patch int // of 6.18.44: 6, 18 and 44
}

// ReleaseError is the error of ParseRelease.
type ReleaseError struct {
	Text string // what was to be parsed
}

func (e *ReleaseError) Error() string {
	return "not a kernel release: " + strconv.Quote(e.Text)
}

// ParseRelease parses a kernel release as uname -r prints it: two or three numbers
// with dots between them, and anything behind that does not begin like a further
// number. "6.18.44-fc", "5.10.0-46-cloud-amd64" and "7.0-rc3" are releases; "6" and
// "6.x" are not. The error is a *ReleaseError.
//
// Distributors count in ways of their own: Debian's 5.10.0-46 is a 5.10.2xx. So do
// not rely on Patch where the text is not from a kernel that you know.
func ParseRelease(s string) (Release, error) {
	var n [3]int
	rest := s
	for i := range n {
		if i > 0 {
			if rest == "" || rest[0] != '.' {
				if i == 1 {
					return Release{}, &ReleaseError{s}
				}
				break
			}
			rest = rest[1:]
		}
		digits := 0
		for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
			digits++
		}
		v, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil {
			return Release{}, &ReleaseError{s}
		}
		n[i], rest = int(v), rest[digits:]
	}
	return Release{n[0], n[1], n[2]}, nil
}

// RunningRelease returns the release of the running kernel. A process that asked
// uname to pretend an old release (personality UNAME26) still gets the true one,
// if /proc is mounted. The error is a *ReleaseError, or errors.ErrUnsupported on
// systems other than Linux.
//
// A sandbox such as gVisor reports the release that it imitates.
func RunningRelease() (Release, error) { return runningRelease() }

// String returns the three numbers, "6.18.44".
func (r Release) String() string { return fmt.Sprintf("%d.%d.%d", r.Major, r.Minor, r.Patch) }

// Compare returns -1 if r is older than o, 0 if they are equal, and 1 if r is newer.
func (r Release) Compare(o Release) int {
	return cmp.Or(cmp.Compare(r.Major, o.Major), cmp.Compare(r.Minor, o.Minor), cmp.Compare(r.Patch, o.Patch))
}

// AtLeast reports whether r is of the series major.minor or a newer one.
func (r Release) AtLeast(major, minor int) bool {
	return r.Compare(Release{Major: major, Minor: minor}) >= 0
}
