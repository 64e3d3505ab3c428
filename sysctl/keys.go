package sysctl

import "time"

// keys holds every Key of the package, in the order of their names.
var keys = [...]AnyKey{
	IPLocalPortRange,
	TCPFinTimeout,
	TCPKeepaliveTime,
	TCPMaxSynBacklog,
	TCPMaxTWBuckets,
	TCPSyncookies,
	TCPTimestamps,
	TCPTWRecycle,
	TCPTWReuse,
}

// IPLocalPortRange is net.ipv4.ip_local_port_range: the ports from which connect() and bind() to port 0 choose. IPv4
// and IPv6, TCP and UDP share it. It bounds how many connections one source address can have to one destination at a
// time, those in TIME_WAIT included.
//
// The kernel first tries the ports with the parity of the first one, so ends of different parity use the range best.
// A service that listens on a port inside the range takes it away for every destination.
var IPLocalPortRange = newKey[PortRange](Info{
	Name: "net.ipv4.ip_local_port_range",
	Doc: "The first and the last port that connect() and bind() to port 0 choose from, for TCP and UDP over " +
		"IPv4 and IPv6. It bounds the connections from one source address to one destination at a time, " +
		"those in TIME_WAIT included.",
	Unit:    "ports",
	Default: "32768 60999",
	Range:   "two ports from 1 to 65535, the first not above the last and not below net.ipv4.ip_unprivileged_port_start",
	Since:   "2.2",
	Scope:   Namespace,
	Risk: "A wider range can take the port of a service before it starts, and a port that something is bound to " +
		"is lost for every destination: reserve such ports with net.ipv4.ip_local_reserved_ports.",
}, parsePortRange)

// TCPFinTimeout is net.ipv4.tcp_fin_timeout: how long a connection stays in FIN_WAIT2 once no process holds its
// socket, waiting for a peer that has not closed its side. It is not the length of TIME_WAIT, which is 60 seconds
// whatever this says.
//
// The time really spent is the value only up to 60 s. Above, it is twice what exceeds 60 s: 61 gives
// 2 s and 90 gives 60 s, so that 61 to 119 shorten it, and only 120 gives what it says. A value of 0 or less is accepted
// and means about 3.5 retransmission timeouts, under a second on a fast network.
var TCPFinTimeout = newKey[time.Duration](Info{
	Name: "net.ipv4.tcp_fin_timeout",
	Doc: "How long a connection that no process holds stays in FIN_WAIT2, waiting for the peer's FIN. It is not " +
		"the length of TIME_WAIT, which is always 60 s. A value v above 60 gives 2*(v-60) seconds, so 61 to 119 " +
		"shorten it; 0 and below give about 3.5 retransmission timeouts.",
	Unit:    "seconds",
	Default: "60",
	Range:   "any integer up to 2^31-1 divided by the kernel's HZ (8589934 at HZ=250); 0 and below have a meaning",
	Since:   "2.2",
	Scope:   Namespace,
	Risk:    "If it is short, a peer that still sends, or closes late, gets a RST. 61 to 119 do the opposite of what they say.",
}, parseDuration(time.Second))

// TCPKeepaliveTime is net.ipv4.tcp_keepalive_time: how long a connection is idle before the first keep-alive probe. It
// only counts for sockets with SO_KEEPALIVE that did not set their own time with TCP_KEEPIDLE, as Go's net.Dialer and
// net.ListenConfig do (15 s unless told otherwise).
var TCPKeepaliveTime = newKey[time.Duration](Info{
	Name: "net.ipv4.tcp_keepalive_time",
	Doc: "How long a connection is idle before the first keep-alive probe, for sockets with SO_KEEPALIVE that did " +
		"not set a time of their own with TCP_KEEPIDLE. A socket without SO_KEEPALIVE is never probed.",
	Unit:    "seconds",
	Default: "7200",
	Range:   "any integer up to 2^31-1 divided by the kernel's HZ (8589934 at HZ=250)",
	Since:   "2.2",
	Scope:   Namespace,
	Risk: "Firewalls, NAT and load balancers usually forget an idle connection much sooner than the default; a short " +
		"time costs packets on every idle connection.",
}, parseDuration(time.Second))

// TCPMaxSynBacklog is net.ipv4.tcp_max_syn_backlog. In spite of its name it does not limit the connections in
// SYN_RECV: the backlog of listen() does. Only with [SyncookiesOff] does it matter: once three quarters of it are in
// use, SYNs of peers that the host has not talked to before are dropped.
var TCPMaxSynBacklog = newKey[int](Info{
	Name: "net.ipv4.tcp_max_syn_backlog",
	Doc: "Matters only with net.ipv4.tcp_syncookies=0: when less than a quarter of this many half-open connections " +
		"is free, a listener drops SYNs from peers that the host does not know. The length of the queue " +
		"itself is limited by the backlog of listen().",
	Unit:    "connections",
	Default: "1/128 of the buckets of the TCP hash table (net.ipv4.tcp_ehash_entries), at least 128",
	Range:   "any integer",
	Since:   "2.2",
	Scope:   Namespace,
	Risk:    "Low. Raising it does not lengthen any queue.",
}, parseInt)

// TCPMaxTWBuckets is net.ipv4.tcp_max_tw_buckets: how many mini-sockets, those of TIME_WAIT and of FIN_WAIT2 without
// an owner together, a network namespace may have. Above it, no existing one is thrown out: the connection that
// closes next gets none and vanishes, which the counter TCPTimeWaitOverflow shows and no log does. 0 means that there is
// no TIME_WAIT at all; a negative value means no limit.
var TCPMaxTWBuckets = newKey[int](Info{
	Name: "net.ipv4.tcp_max_tw_buckets",
	Doc: "How many mini-sockets (TIME_WAIT, and FIN_WAIT2 without an owner) a network namespace may have. Above it a " +
		"closing connection vanishes without TIME_WAIT and TCPTimeWaitOverflow is counted; nothing is " +
		"logged and none is evicted. 0 allows none, a negative value any number.",
	Unit:    "mini-sockets",
	Default: "half the buckets of the TCP hash table (net.ipv4.tcp_ehash_entries)",
	Range:   "any integer",
	Since:   "2.4",
	Scope:   Namespace,
	Risk: "Lowering it is no cure for many TIME_WAITs: peers get RSTs, and old segments can reach new connections. " +
		"Raising it costs about 256 bytes for each.",
}, parseInt)

// TCPSyncookies is net.ipv4.tcp_syncookies: whether a listener whose queue of half-open connections is full answers a
// SYN with a cookie, and so without memory for it, instead of dropping it. A connection made that way has no TCP
// options but those that fit into a timestamp, if both sides use them. Values above 2 act as 1.
var TCPSyncookies = newKey[Syncookies](Info{
	Name: "net.ipv4.tcp_syncookies",
	Doc: "Whether a listener whose queue of half-open connections is full answers a SYN with a cookie instead of " +
		"dropping it: 0 never, 1 when it is full, 2 always. Such connections lose TCP options unless they " +
		"use timestamps.",
	Unit:    "enum",
	Default: "1; there is no file where the kernel is built without CONFIG_SYN_COOKIES",
	Range:   "0 to 255 (before Linux 5.13 any integer); only 0, 1 and 2 have a meaning of their own",
	Since:   "2.2",
	Scope:   Namespace,
	Risk:    "0 drops SYNs under a flood; 2 is for tests.",
}, parseInt)

// TCPTimestamps is net.ipv4.tcp_timestamps: whether connections use the timestamps of RFC 7323. Much rests on them:
// [TCPTWReuse] and the acceptance of a new SYN over a TIME_WAIT, the protection against old segments at high
// rates, and better round-trip times. A connection in TIME_WAIT counts as having them if it had them when it
// was open, whatever the setting is now. Values above 2 act as 2.
var TCPTimestamps = newKey[Timestamps](Info{
	Name: "net.ipv4.tcp_timestamps",
	Doc: "Whether connections use TCP timestamps: 0 no, 1 with a random offset, 2 without. They are what lets a " +
		"TIME_WAIT be reused (net.ipv4.tcp_tw_reuse) and what keeps old segments out of a new connection.",
	Unit:    "enum",
	Default: "1",
	Range:   "0 to 255 (before Linux 5.13 any integer); only 0, 1 and 2 have a meaning of their own, 2 since Linux 4.10",
	Since:   "2.2",
	Scope:   Namespace,
	Risk: "0 gives up reuse of TIME_WAIT and the protection against wrapped sequence numbers. 2 shows the " +
		"uptime of the host, but keeps the timestamps of all clients behind one NAT address from each host in order.",
}, parseInt)

// TCPTWRecycle is net.ipv4.tcp_tw_recycle, which Linux 4.12 removed because it broke clients behind NAT. On any later
// kernel Get returns an error that says so and matches fs.ErrNotExist. The line can be deleted from sysctl.conf:
// nothing reads it any more.
var TCPTWRecycle = newKey[bool](Info{
	Name: "net.ipv4.tcp_tw_recycle",
	Doc: "Gone: it shortened TIME_WAIT and, to that end, refused connections whose timestamp was older than the last " +
		"one seen from the same address, which broke clients behind NAT. Delete it from sysctl.conf.",
	Unit:    "switch",
	Default: "0",
	Range:   "any integer; 0 is off",
	Since:   "2.4",
	Removed: "4.12",
	Scope:   Host, // of a namespace in 4.11 alone
	Risk:    "On kernels that have it, do not set it: connections from behind NAT fail at random.",
}, parseSwitch)

// TCPTWReuse is net.ipv4.tcp_tw_reuse: whether connect(), when it chooses a port itself, may take one whose connection
// to the same destination is in TIME_WAIT. That one must have used timestamps, so [TCPTimestamps] must be on, and be
// older than a second (since Linux 6.14 net.ipv4.tcp_tw_reuse_delay). The default, [TWReuseLoopback], does nothing for
// connections to other hosts. It never concerns connections that a server accepts, nor FIN_WAIT2.
var TCPTWReuse = newKey[TWReuse](Info{
	Name: "net.ipv4.tcp_tw_reuse",
	Doc: "Whether connect() may take over a port whose connection to the same destination is in TIME_WAIT, has used " +
		"timestamps and is older than a second: 0 never, 1 always, 2 only within the host. It does nothing for " +
		"the accepting side.",
	Unit:    "enum",
	Default: "2 (0 before Linux 4.19)",
	Range:   "0 to 2",
	Since:   "2.4",
	Scope:   Namespace,
	Risk: "Low while timestamps are on. Where a device on the way strips timestamps, or the peer's clock ticks more " +
		"slowly than the delay, single connects can fail.",
}, parseInt)
