package sockdiag

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupIDOf returns the id of a control group by its folder: a path of the file
// system that is one, or else a path from where the tree is mounted.
func cgroupIDOf(path string) (uint64, error) {
	id, ok, err := folderID(path)
	if ok || err != nil {
		return id, err
	}
	roots, err := cgroupRoots()
	if err != nil {
		return 0, err
	}
	for _, root := range roots {
		if id, ok, err = folderID(filepath.Join(root, path)); ok || err != nil {
			return id, err
		}
	}
	if len(roots) == 0 {
		return 0, fmt.Errorf("no tree of control groups (cgroup2) is mounted: %w", fs.ErrNotExist)
	}
	return 0, fmt.Errorf("control group %q: %w", path, fs.ErrNotExist)
}

// folderID returns the id of the control group whose folder that is. It is not ok
// where there is no such folder, or it is of another file system.
func folderID(path string) (id uint64, ok bool, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG, unix.EINVAL: // the latter for a zero byte
		return 0, false, nil
	}
	if err != nil {
		return 0, false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var on unix.Statfs_t
	if err := unix.Fstatfs(fd, &on); err != nil {
		return 0, false, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if int64(on.Type) != unix.CGROUP2_SUPER_MAGIC {
		return 0, false, nil
	}
	// The handle is the id, in all its 64 bits: of these the inode number has 32
	// where the kernel's words have no more.
	if h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH); err == nil && h.Size() == 8 {
		return ne.Uint64(h.Bytes()), true, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint64(st.Ino), true, nil
}

// cgroupRoots returns where trees of control groups are mounted: the usual place,
// that of a machine with the first version of them as well, or any other.
func cgroupRoots() (roots []string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// ID parent device root mount-point options... - type source options
		before, behind, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if strings.HasPrefix(behind, "cgroup2 ") && len(fields) > 4 {
			roots = append(roots, unescapeMount(fields[4]))
		}
	}
	return roots, lines.Err()
}

// unescapeMount reads the octal numbers of /proc: \040 is a space.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
