// Package owner finds the processes that have a socket open.
//
//	owners, err := owner.Find(ctx, s.Inode)
//	...
//	holders, verdict := owners.Of(s.Inode)
//	for _, h := range holders {
//		fmt.Println(h.Process.PID, h.Process.Name, h.FD, h.Process.Cgroup)
//	}
//
// The kernel tells a socket's inode (sockdiag.Socket.Inode), and no process.
// What there is of that is the other way round: the descriptors of each process,
// as links in /proc/PID/fd, those of sockets with an inode. Find reads them all,
// once, for any number of sockets; ask for many at a time.
//
// # What it cannot say
//
// A TIME_WAIT has no process, nor has any other mini-socket, a connection that
// its process has closed (an orphan), or one that no process has accepted yet.
// The kernel gives all those the inode 0. Of answers NoFile for it.
//
// A socket can have many holders: a process that forks shares its sockets, and a
// server's workers share its listener. Find names all of them; which one uses the
// socket cannot be seen.
//
// Without privilege Find sees into the processes of its own user, but for those
// that have privilege or had some when they started. All others take
// CAP_SYS_PTRACE, also of root: the root of a container commonly lacks it.
// Owners.Denied lists what was closed to it.
//
// A /proc has the processes of one pid namespace, and the PIDs are as that
// namespace counts them. Containers that share a network namespace, as those of a
// pod do, see each other's sockets and not each other's processes. See
// Owners.Contained, and FindIn for the /proc of the host.
//
// Find is no snapshot. Processes that end under way are left out, sockets that
// are passed on or inherited under way can be missed, and a number in use again
// can name another socket: the kernel starts over after 2³² inodes, all kinds of
// sockets taken together, without a look at those in use.
//
// Find looks at one table of descriptors per process, which its threads share. A
// thread that has unshared its own is not looked at (unshare(CLONE_FILES); few
// programs do). No table at all has a socket on its way through another one
// (SCM_RIGHTS), or one that io_uring, a BPF map or the kernel itself holds.
package owner

import (
	"context"
	"fmt"
	"strconv"
)

// Find looks for the processes that have the sockets with these inodes open. It
// walks through /proc to its end, because a socket may have any number of
// holders; that takes about two microseconds for each descriptor of each process.
//
// Processes that it may not look into are no error; the result lists them. The
// error is a *fs.PathError where there is no /proc (fs.ErrNotExist), or not what
// it takes to read it, as with too many open files (syscall.EMFILE); it is
// the context's error if that is done. On systems other than Linux it matches
// errors.ErrUnsupported.
func Find(ctx context.Context, inodes ...uint32) (*Owners, error) {
	return FindIn(ctx, "/proc", inodes...)
}

// FindIn is Find in a /proc that is mounted elsewhere: that of the host, say, in
// a container which is given it as /host/proc.
func FindIn(ctx context.Context, proc string, inodes ...uint32) (*Owners, error) {
	o := &Owners{holders: make(map[uint32][]Holder, len(inodes))}
	for _, inode := range inodes {
		if inode != 0 {
			o.holders[inode] = nil
		}
	}
	if err := o.find(ctx, proc); err != nil {
		return nil, err
	}
	return o, nil
}

// Owners is what Find found. It does not change.
type Owners struct {
	// Looked is how many processes Find looked into, the calling one included;
	// none, where no inode but 0 was asked for. Kernel threads have no descriptors
	// and are not counted.
	Looked int

	// Denied are the PIDs of the processes that Find may not look into. Kernel
	// threads are not among them, unless hidepid=noaccess (1) makes them look alike.
	Denied []int

	// Hidden: there are processes that Find may not even know of. /proc is mounted
	// with hidepid=invisible (2) or ptraceable (4), as systemd's
	// ProtectProc=invisible does it. It shows by the absence of process 1, so not
	// to the user that process 1 runs as.
	Hidden bool

	// Contained: /proc is of a pid namespace below the machine's first, as in a
	// container, and processes outside of it may hold the sockets too. With Hidden
	// it cannot be known, and is false.
	Contained bool

	holders map[uint32][]Holder
}

// Complete reports whether Find looked into every process of the machine.
func (o *Owners) Complete() bool { return len(o.Denied) == 0 && !o.Hidden && !o.Contained }

// Of returns the holders of the socket with the inode, by PID and descriptor, and
// what is to be made of it if there are none. The slice is not the caller's to
// change.
func (o *Owners) Of(inode uint32) ([]Holder, Verdict) {
	holders, asked := o.holders[inode]
	switch {
	case inode == 0:
		return nil, NoFile
	case !asked:
		return nil, NotAsked
	case len(holders) > 0:
		return holders, Found
	case o.Complete():
		return nil, Nobody
	}
	return nil, NotSeen
}

// Verdict is what is known of a socket's holders.
type Verdict uint8

// The verdicts.
const (
	// NotAsked: the inode is not one that Find was asked for.
	NotAsked Verdict = iota
	// NoFile: the inode is 0. No process can have the socket open.
	NoFile
	// Found: these processes have it open. If not Complete, perhaps others too.
	Found
	// NotSeen: no process that Find looked into has it open, and there are those
	// that it did not look into.
	NotSeen
	// Nobody: every process was looked into, and had not. The socket is closed by
	// now, or it is one of those that the package's comment ends with.
	Nobody
)

// String returns the name: "NotAsked", or "Verdict(42)".
func (v Verdict) String() string {
	switch v {
	case NotAsked:
		return "NotAsked"
	case NoFile:
		return "NoFile"
	case Found:
		return "Found"
	case NotSeen:
		return "NotSeen"
	case Nobody:
		return "Nobody"
	}
	return "Verdict(" + strconv.Itoa(int(v)) + ")"
}

// Holder is a descriptor of a process that is a socket. A process can have
// several of one.
type Holder struct {
	Process *Process // the same for all sockets of the process; not to be changed
	FD      int      // the number of the descriptor in the process
}

// String returns what ss -p prints between users:( and its end:
// ("nginx",pid=12,fd=6). The name is quoted, since a process may give itself any.
func (h Holder) String() string {
	return fmt.Sprintf("(%q,pid=%d,fd=%d)", h.Process.Name, h.Process.PID, h.FD)
}

// Process is a process that has one of the sockets open. It has no command line:
// those can hold secrets.
type Process struct {
	// PID is as the pid namespace of the /proc counts.
	PID int

	// Name is the process's name (comm): 15 bytes at most, of its program unless it
	// chose another. Programs may put any byte into it.
	Name string

	// Cgroup is the process's path in the hierarchy of cgroup v2, from the root of
	// the caller's cgroup namespace: "/system.slice/nginx.service". On hosts that
	// keep their groups in v1, where that path is "/" or missing, it is the path in
	// systemd's own hierarchy, if there is one. Empty: the kernel has no cgroups. A
	// group that was removed ends in " (deleted)".
	Cgroup string
}
