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

// IPLocalPortRange is net.ipv4.ip_local_port_range: the ports from which
// connect() and bind() to port 0 choose. A service that listens on a port
// inside the range takes it away for every destination. The kernel first tries
// the ports with the parity of the first one, so ends of different parity use
// the range best.
var IPLocalPortRange = newKey[PortRange]("net.ipv4.ip_local_port_range", parsePortRange)

// TCPFinTimeout is net.ipv4.tcp_fin_timeout: how long a connection stays in
// FIN_WAIT2 once no process holds its socket. It is not the length of
// TIME_WAIT, which is 60 seconds whatever this says.
//
// The Duration is what the file says. It is also the time really spent only
// from 1 to 60 seconds; its [Info] has the rule for the others, and neither 0
// nor a negative value means that there is no FIN_WAIT2.
var TCPFinTimeout = newKey[time.Duration]("net.ipv4.tcp_fin_timeout", parseDuration(time.Second))

// TCPKeepaliveTime is net.ipv4.tcp_keepalive_time: how long a connection is
// idle before the first keep-alive probe. Connections of Go's net.Dialer and
// net.ListenConfig do not follow it: unless told otherwise they set a time of
// their own, 15 seconds.
var TCPKeepaliveTime = newKey[time.Duration]("net.ipv4.tcp_keepalive_time", parseDuration(time.Second))

// TCPMaxSynBacklog is net.ipv4.tcp_max_syn_backlog. In spite of its name it
// does not limit the connections in SYN_RECV: the backlog of listen() does. It
// matters only where [TCPSyncookies] is [SyncookiesOff].
var TCPMaxSynBacklog = newKey[int]("net.ipv4.tcp_max_syn_backlog", parseInt)

// TCPMaxTWBuckets is net.ipv4.tcp_max_tw_buckets: how many mini-sockets, those
// of TIME_WAIT and of FIN_WAIT2 without an owner together, a network namespace
// may have. A negative value means no limit, so look at the sign before
// comparing with a count; 0 means that there is no TIME_WAIT at all.
var TCPMaxTWBuckets = newKey[int]("net.ipv4.tcp_max_tw_buckets", parseInt)

// TCPSyncookies is net.ipv4.tcp_syncookies: whether a listener whose queue of
// half-open connections is full answers a SYN with a cookie, and so without
// memory for it, instead of dropping it. Values above 2 act as
// [SyncookiesOnOverflow]. A kernel that was built without cookies has no such
// file, which is an [fs.ErrNotExist].
var TCPSyncookies = newKey[Syncookies]("net.ipv4.tcp_syncookies", parseInt)

// TCPTimestamps is net.ipv4.tcp_timestamps: whether new connections use the
// timestamps of RFC 7323, on which [TCPTWReuse] rests. A connection in
// TIME_WAIT counts as having them if it had them when it was open, whatever the
// setting is now. Values above 2 act as [TimestampsNoOffset].
var TCPTimestamps = newKey[Timestamps]("net.ipv4.tcp_timestamps", parseInt)

// TCPTWRecycle is net.ipv4.tcp_tw_recycle, which Linux 4.12 removed. On any
// later kernel Get returns an error that says so and matches [fs.ErrNotExist].
// A line for it in sysctl.conf can be deleted: nothing reads it any more.
var TCPTWRecycle = newKey[bool]("net.ipv4.tcp_tw_recycle", parseSwitch)

// TCPTWReuse is net.ipv4.tcp_tw_reuse: whether connect(), when it chooses a
// port itself, may take one whose connection to the same destination is in
// TIME_WAIT. The default, [TWReuseLoopback], does nothing for connections to
// other hosts, and [TWReuseOn] nothing without [TCPTimestamps]. It never
// concerns connections that a server accepts, nor FIN_WAIT2.
var TCPTWReuse = newKey[TWReuse]("net.ipv4.tcp_tw_reuse", parseInt)
