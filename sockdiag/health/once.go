package health

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"
)

// once is a file system in which each file is read once: a setting is asked for by
// itself, for the defaults of others and for its traps, and each time would be a
// visit to /proc, and might find another value.
type once struct {
	fsys  fs.FS
	files map[string]onceFile
}

type onceFile struct {
	text string
	err  error
	long bool // not kept
}

func newOnce(fsys fs.FS) *once { return &once{fsys, map[string]onceFile{}} }

// Open implements fs.FS.
func (o *once) Open(name string) (fs.File, error) {
	f, ok := o.files[name]
	if !ok {
		f = o.read(name)
		o.files[name] = f
	}
	switch {
	case f.long:
		return o.fsys.Open(name)
	case f.err != nil:
		return nil, f.err
	}
	return textFile{strings.NewReader(f.text), name}, nil
}

// Stat implements fs.StatFS.
func (o *once) Stat(name string) (fs.FileInfo, error) { return fs.Stat(o.fsys, name) }

// read reads a file by one read: many below /proc/sys have nothing for a second one,
// however long they are.
func (o *once) read(name string) onceFile {
	f, err := o.fsys.Open(name)
	if err != nil {
		return onceFile{err: err}
	}
	defer func() { _ = f.Close() }() // only read from
	var buf [4 << 10]byte
	switch n, err := io.ReadFull(f, buf[:]); {
	case err == nil:
		return onceFile{long: true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return onceFile{text: string(buf[:n])}
	default:
		return onceFile{err: err}
	}
}

// textFile is the fs.File of a text.
type textFile struct {
	*strings.Reader
	name string
}

func (textFile) Close() error                 { return nil }
func (f textFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f textFile) Name() string               { return f.name }
func (textFile) Mode() fs.FileMode            { return 0o444 }
func (textFile) ModTime() time.Time           { return time.Time{} }
func (textFile) IsDir() bool                  { return false }
func (textFile) Sys() any                     { return nil }
