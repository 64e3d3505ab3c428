package owner

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// describe reads what Process has, from files in folder up of the directory.
func describe(dir int, up string, pid int) (*Process, error) {
	name, err := read(dir, up+"comm")
	if err != nil {
		return nil, err
	}
	groups, err := read(dir, up+"cgroup")
	// Not of every kernel. That the process has ended would show here as well, but
	// then the next link does too.
	if err != nil && !gone(err) {
		return nil, err
	}
	return &Process{
		PID:    pid,
		Name:   string(bytes.TrimSuffix(name, []byte{'\n'})),
		Cgroup: cgroup(string(groups)),
	}, nil
}

// cgroup finds the path among the lines "hierarchy:controllers:path" of
// /proc/PID/cgroup. That of v2 has no controllers.
func cgroup(text string) string {
	var unified, systemd string
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch controllers, path, _ := strings.Cut(rest, ":"); controllers {
		case "":
			unified = path
		case "name=systemd":
			systemd = path
		}
	}
	if systemd != "" && (unified == "" || unified == "/") {
		return systemd
	}
	return unified
}

// stat is what /proc/PID/stat says, which everybody may read.
type stat struct {
	kernel  bool // a kernel thread
	ended   bool // the first thread has
	threads int
}

var errStat = errors.New("not as the kernel writes it")

func (f *finder) stat(pid int) (stat, error) {
	b, err := read(f.root, strconv.Itoa(pid)+"/stat")
	if err != nil {
		return stat{}, err
	}
	// The name is in parentheses, may hold some too, and is the second field.
	const second, state, flags, threads = 2, 3, 9, 20
	_, rest, _ := strings.Cut(string(b[max(0, bytes.LastIndexByte(b, ')')):]), ")")
	fields := strings.Fields(rest)
	if len(fields) < threads-second {
		return stat{}, errStat
	}
	bits, err := strconv.ParseUint(fields[flags-second-1], 10, 32)
	if err != nil {
		return stat{}, errStat
	}
	number, err := strconv.Atoi(fields[threads-second-1])
	if err != nil {
		return stat{}, errStat
	}
	const kernelThread = 0x00200000 // PF_KTHREAD, of the kernel's include/linux/sched.h
	letter := fields[state-second-1]
	return stat{
		kernel:  bits&kernelThread != 0,
		ended:   letter == "Z" || letter == "X",
		threads: number,
	}, nil
}

// read reads a whole file below a directory.
func read(dir int, path string) ([]byte, error) {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	return io.ReadAll(file)
}
