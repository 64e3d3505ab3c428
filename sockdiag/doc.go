// Package sockdiag asks the Linux kernel about TCP sockets over NETLINK_SOCK_DIAG:
// which there are, in which state, since when and for how long, and how their
// connections fare.
//
//	c, err := sockdiag.Dial(nil)
//	...
//	defer c.Close()
//	q := sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2)}
//	for s, err := range c.Dump(ctx, q) {
//		if err != nil {
//			return err
//		}
//		if left, ok := s.TimeWait(); ok {
//			fmt.Println(s.Local, s.Remote, s.State, left)
//		}
//	}
//
// # What a dump is
//
// One request with a mask of states goes to the kernel, which walks its socket
// tables and answers with one row per socket. The mask works in the kernel: what
// it leaves out costs next to nothing. A dump is not a snapshot. See Client.Dump
// for what that means, and Dedup for a way around duplicates.
//
// Count is a Dump that only counts by state.
//
// # TIME_WAIT
//
// When a connection ends, the side that closed first keeps a small record of it
// for 60 seconds, a constant of the kernel: a mini-socket with neither a file nor
// a process nor a user. It occupies the connection's addresses and ports and
// about 256 bytes. The same kind of record stands for FIN_WAIT2 once the process
// has closed the socket, so that a count of mini-sockets, such as the "tw" of
// /proc/net/sockstat or the "timewait" of ss -s, is not a count of TIME_WAIT.
// Socket.TimeWait answers for both and Socket.State tells them apart.
//
// # States that look like others
//
// A connection request that waits for the last ACK of its handshake is a request
// socket; the kernel has a state for it, NEW_SYN_RECV, and reports it as SYN_RECV.
// A socket that was bound and neither listens nor connects is selected as
// BOUND_INACTIVE (since Linux 6.8) and reported as CLOSE; Dump and Count undo
// that and say BoundInactive. CLOSE itself is seldom seen: on connections that
// were reset while the dump came by.
//
// # Addresses
//
// IPv4 and IPv6 come from one walk of the table when a Query's Family is zero. An
// IPv4 connection to an IPv6 socket has IPv4-mapped addresses and belongs to IPv6
// (see Family). /proc/net/tcp and ss divide them the same way.
//
// # Privileges
//
// Everything works as an ordinary user, for the sockets of all users. With
// CAP_NET_ADMIN over the namespace, at the Dial and at the call, the kernel also
// sends AttrMark and, along with AttrTCPInfo, AttrMD5Keys and the whole of
// AttrULPInfo. AttrTCPInfo says what becomes of listeners with many keys.
//
// # Namespaces
//
// A Client sees the network namespace that it was dialled in and no other,
// whichever thread calls it. Config.NetNS names another one.
//
// # Units
//
// Times are time.Duration, sizes bytes, windows and queues of tcp_info segments
// where the field says so, rates bytes per second. No field is in network byte
// order, in jiffies, or a bit-field.
//
// # Kernels
//
// Linux 5.10 to 7.3 were looked at. Newer ones may send states, timers,
// attributes and fields that are unknown here: they are kept as numbers or
// skipped, and are never errors. Older ones lack fields of tcp_info, which
// TCPInfo.Has tells from zeros. On other operating systems Dial, TCPInfoOf and
// IDOf return errors that match errors.ErrUnsupported, and decoding works.
package sockdiag
