package sysctl

import "time"

// The end of connections: FIN_WAIT2, TIME_WAIT, orphans.

// TCPFinTimeout is net.ipv4.tcp_fin_timeout: how long a connection stays in
// FIN_WAIT2 once no process holds its socket. It is not the length of
// TIME_WAIT, which is 60 seconds whatever this says.
//
// The Duration is what the file says. It is also the time really spent only
// from 1 to 60 seconds; its [Info] has the rule for the others, and neither 0
// nor a negative value means that there is no FIN_WAIT2.
var TCPFinTimeout = newKey[time.Duration]("net.ipv4.tcp_fin_timeout", parseDuration(time.Second),
	byDefault(60*time.Second), traps(finTimeoutTrap))

// TCPInvalidRatelimit is net.ipv4.tcp_invalid_ratelimit: the shortest time
// between two ACKs that one socket, or one TIME_WAIT, sends because of segments
// that do not belong to it. What falls under it is counted as TCPACKSkipped….
var TCPInvalidRatelimit = newKey[time.Duration]("net.ipv4.tcp_invalid_ratelimit", parseDuration(time.Millisecond),
	byDefault(500*time.Millisecond),
	trapIf(below[time.Duration](1), "every stray segment is answered: two hosts can keep each other busy with ACKs", "500"))

// TCPMaxOrphans is net.ipv4.tcp_max_orphans: how many sockets without a process
// the whole host may have before close() resets connections instead of ending
// them. TIME_WAIT and FIN_WAIT2 mini-sockets do not count, and 0 allows none. Only the
// initial network namespace has the file.
var TCPMaxOrphans = newKey[int]("net.ipv4.tcp_max_orphans", parseInt, byTable(half), traps(orphansTrap))

// TCPMaxTWBuckets is net.ipv4.tcp_max_tw_buckets: how many mini-sockets, those
// of TIME_WAIT and of FIN_WAIT2 without an owner together, a network namespace
// may have. A negative value means no limit, so look at the sign before
// comparing with a count; 0 means that there is no TIME_WAIT at all.
var TCPMaxTWBuckets = newKey[int]("net.ipv4.tcp_max_tw_buckets", parseInt, byTable(half), traps(twBucketsTrap))

// TCPOrphanRetries is net.ipv4.tcp_orphan_retries: how often a connection that no
// process holds repeats its last data or FIN before it is given up, in FIN_WAIT1,
// CLOSING and LAST_ACK. 0 does not mean never: it means 8 times, or none after
// an ICMP error.
var TCPOrphanRetries = newKey[int]("net.ipv4.tcp_orphan_retries", parseInt, byDefault(0))

// TCPRFC1337 is net.ipv4.tcp_rfc1337: whether TIME_WAIT ignores a RST. On is the
// safe choice of RFC 1337, whatever the kernel's documentation says; off lets
// any RST in the window end a TIME_WAIT, which is also how a client gets past a
// TIME_WAIT that rejects its SYN.
var TCPRFC1337 = newKey[bool]("net.ipv4.tcp_rfc1337", parseSwitch, byDefault(false),
	trapIf(isOn, "a client whose SYN a TIME_WAIT rejects cannot get past it: each try starts its 60 s anew", "0"))

// TCPTimestamps is net.ipv4.tcp_timestamps: whether new connections use the
// timestamps of RFC 7323, on which [TCPTWReuse] rests. A connection in
// TIME_WAIT counts as having them if it had them when it was open, whatever the
// setting is now. Values above 2 act as [TimestampsNoOffset].
var TCPTimestamps = newKey[Timestamps]("net.ipv4.tcp_timestamps", parseInt, byDefault(TimestampsOn), traps(timestampsTrap))

// TCPTWRecycle is net.ipv4.tcp_tw_recycle, which Linux 4.12 removed. On any
// later kernel Get returns an error that says so and matches [fs.ErrNotExist].
// A line for it in sysctl.conf can be deleted: nothing reads it any more.
var TCPTWRecycle = newKey[bool]("net.ipv4.tcp_tw_recycle", parseSwitch, byDefault(false),
	trapIf(isOn, "clients that share an address (NAT) cannot connect at random", "0"))

// TCPTWReuse is net.ipv4.tcp_tw_reuse: whether connect(), when it chooses a
// port itself, may take one whose connection to the same destination is in
// TIME_WAIT. The default, [TWReuseLoopback], does nothing for connections to
// other hosts, and [TWReuseOn] nothing without [TCPTimestamps]. It never
// concerns connections that a server accepts, nor FIN_WAIT2.
var TCPTWReuse = newKey[TWReuse]("net.ipv4.tcp_tw_reuse", parseInt,
	byDefaultSince(4, 19, TWReuseLoopback, TWReuseOff))

// TCPTWReuseDelay is net.ipv4.tcp_tw_reuse_delay: how old a TIME_WAIT must be
// before [TCPTWReuse] lets connect() take it over. Kernels before 6.14 have no
// such file and wait for the clock to show the next second.
var TCPTWReuseDelay = newKey[time.Duration]("net.ipv4.tcp_tw_reuse_delay", parseDuration(time.Millisecond), byDefault(time.Second))
