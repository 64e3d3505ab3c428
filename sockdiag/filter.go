package sockdiag

import (
	"net/netip"
	"unique"
)

// Filter says which sockets are wanted, by their ends, device, mark and control
// group. The kernel evaluates it while it walks its tables, so that what it
// leaves out costs next to nothing. The zero Filter selects every socket.
//
// Make one with ParseFilter or of the functions that return one: conditions
// (LocalPort, RemotePrefix, Mark and so on), joined by And, Or and Not. Filters
// are values: two that say the same in the same way are equal (==), whichever
// way they were made. To say the same in other words is not equal.
//
// # Addresses and families
//
// A prefix selects what the kernel and ss(8) select by it:
//
//   - An IPv4 prefix is met by an IPv4 socket whose address is in it, and by an
//     IPv6 socket whose address is IPv4-mapped (::ffff:10.0.0.1) and, unmapped, is
//     in it. 0.0.0.0/0 is every IPv4 socket and every IPv6 socket whose address
//     is IPv4-mapped; a listener on :: is none of these, though it may take IPv4
//     connections.
//   - An IPv6 prefix is met by IPv6 sockets alone. So is ::ffff:10.0.0.0/104, which
//     selects those of 10.0.0.0/8 that are IPv4-mapped and leaves out the IPv4
//     sockets. ::/0 is every IPv6 socket, mapped or not.
//   - What has no address in it (LocalPort, "sport = :22", "src *:22", "src any")
//     is of both families.
//
// The remote end of a listener and of a bound-only socket has address :: or
// 0.0.0.0 and port 0, and conditions on it are of these.
//
// # SCTP
//
// The kernel's part for SCTP does not filter. There Match decides, on every row, and
// what that cannot decide ends the call with errors.ErrUnsupported.
type Filter struct {
	tree unique.Handle[filterNode] // no handle: everything
}

// filterNode is a part of a Filter. A Filter refers to the one copy of it that there
// is, and so do Filters within a node, which is what makes Filters comparable.
type filterNode struct {
	op    filterOp
	depth uint16 // of the deepest nesting of And, Or and Not; of a condition 0

	// Of opAnd and opOr: the first part, and the rest of them, which is a node of
	// the same op until the last part, which is none. Of opNot: left alone.
	left, right Filter

	remote bool         // of opPort and opPrefix: which end
	lo, hi uint16       // of opPort: lo is 0, or hi is 65535, or they are the same
	prefix netip.Prefix // of opPrefix: masked
	number uint64       // of opInterface, opMark and opCgroup
	mask   uint32       // of opMark: not 0
	name   string       // of opInterfaceName and opCgroupPath; of opInvalid the reason
}

type filterOp uint8

const (
	opEverything filterOp = iota // the zero Filter, which has no node
	opNothing                    // Not of it
	opAnd
	opOr
	opNot
	opPort
	opPrefix
	opInterface
	opInterfaceName
	opMark
	opCgroup
	opCgroupPath
	opAutobound
	opPrefixPort // opPrefix with lo for the port: made by an assembler for itself
	opInvalid    // what cannot be; it is the whole Filter, never a part
)

// maxDepth is how deep a Filter can be nested. Functions that walk a Filter call
// themselves as often.
const maxDepth = 1000

func (n filterNode) filter() Filter { return Filter{unique.Make(n)} }

func (f Filter) node() filterNode {
	if f == (Filter{}) {
		return filterNode{}
	}
	return f.tree.Value()
}

func nothingFilter() Filter { return filterNode{op: opNothing}.filter() }

func invalidFilter(reason string) Filter { return filterNode{op: opInvalid, name: reason}.filter() }

// And selects what all of the filters select: everything if there are none.
//
// Nesting is limited to a depth of 1000, which counts And, Or and Not within each
// other. The number of filters in one And or Or is not.
func And(filters ...Filter) Filter { return joinFilters(opAnd, filters) }

// Or selects what any of the filters selects: nothing if there are none. As to
// nesting see And.
func Or(filters ...Filter) Filter { return joinFilters(opOr, filters) }

// Not selects what the filter does not.
//
// It is about the whole condition, as it is in ss(8): Not(LocalPrefix(p)) of an IPv4
// prefix selects the IPv6 sockets, too.
func Not(f Filter) Filter {
	switch n := f.node(); {
	case n.op == opEverything:
		return nothingFilter()
	case n.op == opNothing:
		return Filter{}
	case n.op == opNot:
		return n.left
	case n.op == opInvalid:
		return f
	case n.op == opPort && n.lo == 0:
		return portFilter(n.remote, n.hi+1, maxPort)
	case n.op == opPort && n.hi == maxPort:
		return portFilter(n.remote, 0, n.lo-1)
	default:
		return nested(filterNode{op: opNot, left: f, depth: n.depth + 1})
	}
}

// nested refuses what is too deep.
func nested(n filterNode) Filter {
	if n.depth > maxDepth {
		return invalidFilter("it is nested too deeply")
	}
	return n.filter()
}

// join is And and Or. It keeps one form of what can be written in several: parts
// that are an And within an And are parts of the outer one, and constants do not
// occur within others.
func joinFilters(op filterOp, filters []Filter) Filter {
	neutral, decisive := Filter{}, nothingFilter()
	if op == opOr {
		neutral, decisive = decisive, neutral
	}
	var parts []Filter
	decided := false
	for _, f := range filters {
		switch {
		case f.node().op == opInvalid:
			return f
		case f == decisive:
			decided = true
		case f != neutral:
			parts = f.appendParts(parts, op)
		}
	}
	if decided {
		return decisive
	}
	if len(parts) == 0 {
		return neutral
	}
	var depth uint16
	for _, f := range parts {
		depth = max(depth, f.node().depth+1)
	}
	last := len(parts) - 1
	all := parts[last]
	for i := last - 1; i >= 0; i-- {
		all = nested(filterNode{op: op, left: parts[i], right: all, depth: depth})
		if depth > maxDepth {
			break
		}
	}
	return all
}

// appendParts appends the parts of an And or Or, or f itself if it is none.
func (f Filter) appendParts(parts []Filter, op filterOp) []Filter {
	for {
		n := f.node()
		if n.op != op {
			return append(parts, f)
		}
		parts = append(parts, n.left)
		f = n.right
	}
}

const maxPort = 65535

// LocalPort selects sockets whose local port is lo, hi or between them. A filter
// with lo above hi is an error of the call that gets it (fs.ErrInvalid), and so is
// any that it is part of.
//
// Raw sockets have no ports: the kernel compares their IP protocol.
func LocalPort(lo, hi uint16) Filter { return portFilter(false, lo, hi) }

// RemotePort is LocalPort of the other end: port 0 for what has none.
func RemotePort(lo, hi uint16) Filter { return portFilter(true, lo, hi) }

func portFilter(remote bool, lo, hi uint16) Filter {
	switch {
	case lo > hi:
		return invalidFilter("its range of ports ends before it begins")
	case lo == 0 && hi == maxPort:
		return Filter{}
	case lo == hi || lo == 0 || hi == maxPort:
		return filterNode{op: opPort, remote: remote, lo: lo, hi: hi}.filter()
	}
	return And(portFilter(remote, lo, maxPort), portFilter(remote, 0, hi))
}

// LocalPrefix selects sockets whose local address is in the prefix. See Filter for
// the families. Bits behind the prefix do not matter. The zero Prefix, which is
// not valid, is an error of the call that gets the Filter (fs.ErrInvalid).
func LocalPrefix(p netip.Prefix) Filter { return prefixFilter(false, p) }

// RemotePrefix is LocalPrefix of the other end.
func RemotePrefix(p netip.Prefix) Filter { return prefixFilter(true, p) }

func prefixFilter(remote bool, p netip.Prefix) Filter {
	if !p.IsValid() {
		return invalidFilter("its prefix is not valid")
	}
	return filterNode{op: opPrefix, remote: remote, prefix: p.Masked()}.filter()
}

// Interface selects sockets that are bound to the device with that index
// (SO_BINDTODEVICE); 0 selects those that are bound to none. That a connection
// goes through a device does not bind it.
func Interface(index uint32) Filter {
	return filterNode{op: opInterface, number: uint64(index)}.filter()
}

// InterfaceName is Interface for a device by its name in the Client's network
// namespace. It is looked up when a call begins, which fails with fs.ErrNotExist
// where there is no such device.
func InterfaceName(name string) Filter {
	if name == "" {
		return invalidFilter("its device has no name")
	}
	return filterNode{op: opInterfaceName, name: name}.filter()
}

// Mark selects sockets whose mark (SO_MARK) has, under the mask, the value. A
// value with bits outside the mask is met by none, and where both are 0 by all.
//
// The kernel lets only callers with CAP_NET_ADMIN over the namespace ask for it:
// the call of others fails with fs.ErrPermission. Of TIME_WAIT Linux 5.10 knows
// no mark and takes it for 0; Linux 6.1 does.
func Mark(value, mask uint32) Filter {
	switch {
	case value&^mask != 0:
		return nothingFilter()
	case mask == 0:
		return Filter{}
	}
	return filterNode{op: opMark, number: uint64(value), mask: mask}.filter()
}

// Cgroup selects sockets of the control group (version 2) with that id, which is
// the inode number of its folder: those made by a process that was in it. Sockets
// of groups below it are not selected. Mini-sockets (TIME_WAIT, an orphan's
// FIN_WAIT2, SYN_RECV request sockets) have none, and Cgroup(0) selects these.
//
// A kernel without control groups makes the call fail with errors.ErrUnsupported.
func Cgroup(id uint64) Filter { return filterNode{op: opCgroup, number: id}.filter() }

// CgroupPath is Cgroup for a control group by its folder: the path from the root
// of the tree, as in the last column of /proc/PID/cgroup, or that of the folder
// wherever the tree is mounted ("/sys/fs/cgroup/system.slice"). It is looked up
// when a call begins, which fails with fs.ErrNotExist where there is none.
func CgroupPath(path string) Filter {
	if path == "" {
		return invalidFilter("its control group has no path")
	}
	return filterNode{op: opCgroupPath, name: path}.filter()
}

// Autobound selects sockets whose local port was chosen by the kernel, as far as
// the kernel remembers: a port that the program named (in bind, and not 0) is
// remembered only by the socket that was bound. So it selects accepted connections
// and mini-sockets as well, whatever their port.
//
// ss(8) means by it, besides, that the port is in the range that the kernel
// chooses from (net.ipv4.ip_local_port_range).
func Autobound() Filter { return filterNode{op: opAutobound}.filter() }
