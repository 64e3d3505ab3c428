package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupPaths returns the control groups by their id, which is the inode of the
// folder, where the tree is mounted in one of the usual places.
func cgroupPaths() map[uint64]string {
	paths := map[uint64]string{}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var on unix.Statfs_t
		if unix.Statfs(root, &on) != nil || int64(on.Type) != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil // what cannot be read has no name
			}
			if info, err := d.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					paths[st.Ino] = "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
				}
			}
			return nil
		})
	}
	return paths
}
