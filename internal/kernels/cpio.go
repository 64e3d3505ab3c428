package main

import (
	"fmt"
	"io"
	"path"
)

// file is one regular file of an initramfs.
type file struct {
	name string // from its root, without a leading slash
	mode uint32
	data []byte
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
)

// writeInitramfs writes the files, with the folders they stand in, as the kernel
// wants an initramfs: a cpio archive of the kind "newc"
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func writeInitramfs(w io.Writer, files []file) error {
	c := &cpio{w: w, dirs: map[string]bool{".": true}}
	for _, f := range files {
		c.mkdir(path.Dir(f.name))
		c.add(f.name, modeFile|f.mode, f.data)
	}
	c.add("TRAILER!!!", 0, nil)
	return c.err
}

// cpio keeps the first error.
type cpio struct {
	w    io.Writer
	dirs map[string]bool
	ino  int
	err  error
}

func (c *cpio) mkdir(name string) {
	if c.dirs[name] {
		return
	}
	c.dirs[name] = true
	c.mkdir(path.Dir(name))
	c.add(name, modeDir|0o755, nil)
}

// add writes an entry: a header of a magic number and 13 numbers of 8 hex digits,
// the name with its NUL and the data, each padded to a multiple of 4 bytes.
func (c *cpio) add(name string, mode uint32, data []byte) {
	const headerLen = 6 + 13*8
	c.ino++
	links, nameLen := 1, len(name)+1
	c.printf("070701%08x%08x%08x%08x%08x%08x%08x", c.ino, mode, 0, 0, links, 0, len(data))
	c.printf("%08x%08x%08x%08x%08x%08x%s\x00", 0, 0, 0, 0, nameLen, 0, name)
	c.pad(headerLen + nameLen)
	if c.err == nil {
		_, c.err = c.w.Write(data)
	}
	c.pad(len(data))
}

func (c *cpio) printf(format string, args ...any) {
	if c.err == nil {
		_, c.err = fmt.Fprintf(c.w, format, args...)
	}
}

func (c *cpio) pad(n int) { c.printf("%s", "\x00\x00\x00"[:-n&3]) }
