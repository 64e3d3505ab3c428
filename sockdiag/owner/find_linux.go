package owner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// finder is one walk through a /proc. It uses system calls where package os would
// make two of each and a string of every link: there can be 10⁵ of them.
type finder struct {
	ctx    context.Context
	proc   string
	root   int // descriptor of proc
	owners *Owners

	dirents []byte
	link    [64]byte // longer links are not of sockets, and are cut
	fds     []int
}

func (o *Owners) find(ctx context.Context, proc string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(o.holders) == 0 {
		return nil
	}
	root, err := unix.Open(proc, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: proc, Err: err}
	}
	defer unix.Close(root)
	f := &finder{ctx: ctx, proc: proc, root: root, owners: o, dirents: make([]byte, 32<<10)}
	if err := f.walk(); err != nil {
		return err
	}
	for _, holders := range o.holders {
		slices.SortFunc(holders, func(a, b Holder) int {
			return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.FD, b.FD))
		})
	}
	return nil
}

var errNoProcesses = fmt.Errorf("it has no processes: is /proc mounted there? %w", fs.ErrNotExist)

// first and kthreadd are processes that the machine's first pid namespace always
// has; every other has only first.
const (
	first    = 1
	kthreadd = 2
)

func (f *finder) walk() error {
	pids, err := f.list(f.root, nil)
	if err == nil && len(pids) == 0 {
		err = errNoProcesses
	}
	if err != nil {
		return &fs.PathError{Op: "list", Path: f.proc, Err: err}
	}
	slices.Sort(pids)
	o := f.owners
	o.Hidden = pids[0] != first
	s, err := f.stat(kthreadd)
	o.Contained = !o.Hidden && (err != nil || !s.kernel)

	for _, pid := range pids {
		if f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		switch err := f.process(pid); {
		case err == nil:
			o.Looked++
		case errors.Is(err, errNone), gone(err):
		case denied(err):
			o.Denied = append(o.Denied, pid)
		case f.ctx.Err() != nil:
			return f.ctx.Err()
		default:
			return &fs.PathError{Op: "look into", Path: filepath.Join(f.proc, strconv.Itoa(pid)), Err: err}
		}
	}
	return nil
}

// gone reports whether the process has ended, or the descriptor is closed, since
// they were listed.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

func denied(err error) bool { return errors.Is(err, fs.ErrPermission) }

// errNone is about a process that has no descriptors whatever it does.
var errNone = errors.New("a kernel thread, or a process that has ended")

// process looks into one process.
func (f *finder) process(pid int) error {
	dir := strconv.Itoa(pid)
	n, err := f.table(pid, dir+"/fd", "../")
	if n > 0 || err != nil && !denied(err) {
		return err
	}
	// One without descriptors, or that is closed to the caller.
	s, statErr := f.stat(pid)
	switch {
	case gone(statErr):
		return statErr
	case statErr != nil:
		return err
	case s.kernel, s.ended && s.threads <= 1:
		return errNone
	case s.ended:
		return f.threads(pid)
	}
	return err
}

// threads looks into a process whose first thread has ended: its table is only
// seen below the others, which share it.
func (f *finder) threads(pid int) error {
	path := strconv.Itoa(pid) + "/task"
	dir, err := unix.Openat(f.root, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	tids, err := f.list(dir, nil)
	_ = unix.Close(dir)
	if err != nil {
		return err
	}
	err = errNone
	for _, tid := range tids {
		// That of the first is empty, or closed to all but root.
		n, tableErr := f.table(pid, path+"/"+strconv.Itoa(tid)+"/fd", "../../../")
		if n > 0 || tableErr != nil && !gone(tableErr) && !denied(tableErr) {
			return tableErr
		}
		if denied(tableErr) {
			err = tableErr
		}
	}
	return err
}

// table looks at the descriptors in a folder, and returns how many they are. up
// leads from there to the folder of the process: a PID could be of another by now.
func (f *finder) table(pid int, path, up string) (n int, err error) {
	dir, err := unix.Openat(f.root, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	f.fds, err = f.list(dir, f.fds[:0])
	if err != nil {
		return 0, err
	}
	var p *Process
	for i, fd := range f.fds {
		if i%1024 == 1023 && f.ctx.Err() != nil {
			return i, f.ctx.Err()
		}
		inode, err := f.inode(dir, fd)
		if err != nil && !gone(err) {
			return i, err
		}
		holders, asked := f.owners.holders[inode]
		if !asked {
			continue
		}
		if p == nil {
			if p, err = describe(dir, up, pid); err != nil {
				return i, err
			}
		}
		f.owners.holders[inode] = append(holders, Holder{Process: p, FD: fd})
	}
	return len(f.fds), nil
}

// inode returns that of the socket behind a descriptor, or 0, which nobody asks
// for, if it is no socket.
func (f *finder) inode(dir, fd int) (uint32, error) {
	n, err := unix.Readlinkat(dir, strconv.Itoa(fd), f.link[:])
	if err != nil {
		return 0, err
	}
	digits, isSocket := bytes.CutPrefix(f.link[:n], []byte("socket:["))
	digits, closed := bytes.CutSuffix(digits, []byte("]"))
	if !isSocket || !closed {
		return 0, nil
	}
	inode, err := strconv.ParseUint(string(digits), 10, 32)
	if err != nil {
		return 0, nil
	}
	return uint32(inode), nil
}

// list appends the numbers among the names in a directory.
func (f *finder) list(dir int, numbers []int) ([]int, error) {
	for {
		n, err := unix.Getdents(dir, f.dirents)
		if err != nil || n <= 0 {
			return numbers, err
		}
		for b := f.dirents[:n]; len(b) > 0; {
			// struct linux_dirent64: inode and offset of 8 bytes, the length of the
			// whole in 2, a type in 1, the name and a zero.
			const length, name = 16, 19
			size := int(binary.NativeEndian.Uint16(b[length:]))
			text, _, _ := bytes.Cut(b[name:size], []byte{0})
			b = b[size:]
			if number, err := strconv.ParseUint(string(text), 10, 31); err == nil {
				numbers = append(numbers, int(number))
			}
		}
	}
}
