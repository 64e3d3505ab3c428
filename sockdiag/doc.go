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
// were reset, while the dump came by, or before it if their port was bound by number
// and their program has not closed them yet.
//
// # Addresses
//
// IPv4 and IPv6 come from one walk of the table when a Query's Family is zero. An
// IPv4 connection to an IPv6 socket has IPv4-mapped addresses and belongs to IPv6
// (see Family). /proc/net/tcp and ss divide them the same way.
//
// # Privileges
//
// Everything works as an ordinary user, for the sockets of all users, but for
// Destroy, for a Filter with Mark, and for what this table says needs more.
//
//	attribute      ask   needs           since  TCP   LISTEN  bound  mini  UDP   raw   MPTCP  SCTP
//	MemInfo        0x01  -               -      yes   yes     yes    -     yes   yes   yes    -
//	TCPInfo        0x02  -               -      yes   yes     -      -     -     -     yes    yes
//	MD5Keys        0x02  NET_ADMIN       -      some  some    -      -     -     -     -      -
//	ULPInfo        0x02  NET_ADMIN<6.15  5.4    some  some    -      -     -     -     -      -
//	VegasInfo      0x04  -               -      some  -       -      -     -     -     -      -
//	DCTCPInfo      0x04  -               -      some  -       -      -     -     -     -      -
//	BBRInfo        0x04  -               -      some  -       -      -     -     -     -      -
//	Congestion     0x08  -               -      yes   yes     -      -     -     -     -      some
//	TOS            0x10  -               -      yes   yes     yes    -     yes   yes   yes    yes
//	TrafficClass   0x20  -               -      v6    v6      v6     -     v6    v6    v6     v6
//	ClassID        0x20  -               -      yes   yes     yes    -     yes   yes   yes    yes
//	SocketMemory   0x40  -               -      yes   yes     yes    -     yes   yes   yes    yes
//	Shutdown       -     -               -      yes   yes     yes    -     yes   yes   yes    yes
//	V6Only         -     -               -      -     v6      v6     -     some  some  some   some
//	Mark           -     NET_ADMIN       -      yes   yes     yes    some  yes   yes   yes    yes
//	CgroupID       -     -               5.8    yes   yes     yes    -     yes   yes   yes    yes
//	SocketOptions  -     -               5.10   yes   yes     yes    -     yes   yes   yes    yes
//	Protocol       -     -               -      -     -       -      -     -     yes   -      -
//	Locals         -     -               -      -     -       -      -     -     -     -      yes
//	Peers          -     -               -      -     -       -      -     -     -     -      some
//	BPFStorages    attr  BPF             5.7    some  some    -      -     -     -     some   -
//
// Ask: the bit of the request that brings it, idiag_ext, so that attributes of one
// bit come together. What has none comes unasked; AttrBPFStorages has a request of
// its own.
//
// Needs: CAP_NET_ADMIN in the user namespace that owns the network namespace, both
// at the Dial and at the call. Until Linux 6.15 or so that went for AttrULPInfo,
// and since then for some of MPTCP's numbers in it. Or CAP_BPF (or CAP_SYS_ADMIN)
// over the machine, at the call: without it there is an error instead of rows.
//
// Since: the Linux release; Linux 4.14 has those without.
//
// Then the kinds of rows: TCP but for what follows; TCP in LISTEN; bound-only TCP;
// mini-sockets of TCP in TIME_WAIT, FIN_WAIT2 and SYN_RECV; UDP and UDPLite; and so
// on. "v6" is on IPv6 sockets, and "some" on those that have such a thing:
// AttrVegasInfo, AttrDCTCPInfo and AttrBBRInfo where it is the congestion control,
// and not in CLOSE_WAIT, LAST_ACK and CLOSING. AttrV6Only is on IPv6 sockets in
// LISTEN and CLOSE. AttrMark is on all mini-sockets in Linux 6.1, and in 5.10 on
// those in SYN_RECV. SCTP has AttrCongestion and AttrPeers on associations. MPTCP
// and SCTP have infos of their own in place of tcp_info: see AttrMPTCPInfo and
// AttrSCTPInfo. AttrTCPInfo says what becomes of listeners with many keys.
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
// Linux 5.10 to 7.3 were looked at. What depends on the release, besides the
// attributes above and the fields of tcp_info (Field.Since):
//
//	MPTCP                               since 5.9; Debian's 5.10 is built without
//	UDPLite                             until 7.0
//	BoundInactive                       since 6.8
//	TimerDelayedACK                     since 7.1
//	Destroy of mini-sockets             not in 5.10, but in 6.1
//	AttrMark of TIME_WAIT, FIN_WAIT2    not in 5.10, but in 6.1
//	AttrULPInfo without CAP_NET_ADMIN   since 6.15 or so
//
// Newer ones may send states, timers, attributes and fields that are unknown here:
// they are kept as numbers or skipped, and are never errors. Older ones lack fields
// of tcp_info, which TCPInfo.Has tells from zeros. On other operating systems Dial,
// TCPInfoOf and IDOf return errors that match errors.ErrUnsupported, and decoding
// works.
package sockdiag
