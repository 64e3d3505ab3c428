package sysctl

import "time"

// Connection tracking, of firewalls and NAT: it has states and times of its
// own, and its entries outlive the sockets. The keys exist where the module
// nf_conntrack is loaded.

// NFConntrackBuckets is net.netfilter.nf_conntrack_buckets: the size of the hash
// table of connection tracking, for all namespaces of the host.
var NFConntrackBuckets = newKey[int]("net.netfilter.nf_conntrack_buckets", parseInt)

// NFConntrackCount is net.netfilter.nf_conntrack_count: how many connections are
// tracked in this namespace at the moment. Compare it with [NFConntrackMax]. It cannot be
// written.
var NFConntrackCount = newKey[int]("net.netfilter.nf_conntrack_count", parseInt)

// NFConntrackMax is net.netfilter.nf_conntrack_max: how many connections one
// namespace may track. Above it new connections of anybody are dropped, and the
// kernel logs "table full, dropping packet". The initial namespace has it as
// net.nf_conntrack_max too; in others it can only be read.
var NFConntrackMax = newKey[int]("net.netfilter.nf_conntrack_max", parseInt, byDefaultOf(conntrackMax))

// NFConntrackTCPTimeoutClose is net.netfilter.nf_conntrack_tcp_timeout_close: how
// long an entry outlives a RST.
var NFConntrackTCPTimeoutClose = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_close",
	parseDuration(time.Second), byDefault(10*time.Second))

// NFConntrackTCPTimeoutCloseWait is net.netfilter.nf_conntrack_tcp_timeout_close_wait:
// how long an entry outlives the last packet after the first FIN was acknowledged.
// A peer that leaks CLOSE_WAIT keeps its socket longer than that.
var NFConntrackTCPTimeoutCloseWait = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_close_wait",
	parseDuration(time.Second), byDefault(time.Minute))

// NFConntrackTCPTimeoutEstablished is net.netfilter.nf_conntrack_tcp_timeout_established:
// how long an entry of an open connection outlives its last packet. The default
// of 5 days lets dead connections fill the table; one shorter than the
// keep-alive of programs cuts idle connections off.
var NFConntrackTCPTimeoutEstablished = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_established",
	parseDuration(time.Second), byDefault(5*24*time.Hour))

// NFConntrackTCPTimeoutFinWait is net.netfilter.nf_conntrack_tcp_timeout_fin_wait:
// how long an entry waits after the first FIN.
var NFConntrackTCPTimeoutFinWait = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
	parseDuration(time.Second), byDefault(2*time.Minute))

// NFConntrackTCPTimeoutLastACK is net.netfilter.nf_conntrack_tcp_timeout_last_ack:
// how long an entry waits for the ACK of the second FIN.
var NFConntrackTCPTimeoutLastACK = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_last_ack",
	parseDuration(time.Second), byDefault(30*time.Second))

// NFConntrackTCPTimeoutMaxRetrans is net.netfilter.nf_conntrack_tcp_timeout_max_retrans:
// how long an entry stays whose packets were repeated again and again without an
// answer.
var NFConntrackTCPTimeoutMaxRetrans = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_max_retrans",
	parseDuration(time.Second), byDefault(5*time.Minute))

// NFConntrackTCPTimeoutSynRecv is net.netfilter.nf_conntrack_tcp_timeout_syn_recv:
// how long an entry waits for the last packet of the handshake.
var NFConntrackTCPTimeoutSynRecv = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_syn_recv",
	parseDuration(time.Second), byDefault(time.Minute))

// NFConntrackTCPTimeoutSynSent is net.netfilter.nf_conntrack_tcp_timeout_syn_sent:
// how long an entry waits for the answer to a SYN.
var NFConntrackTCPTimeoutSynSent = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
	parseDuration(time.Second), byDefault(2*time.Minute))

// NFConntrackTCPTimeoutTimeWait is net.netfilter.nf_conntrack_tcp_timeout_time_wait:
// how long an entry stays in TIME_WAIT, twice the 60 seconds of the socket by
// default. 0 removes it at once.
var NFConntrackTCPTimeoutTimeWait = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_time_wait",
	parseDuration(time.Second), byDefault(2*time.Minute),
	trapIf(below(time.Minute), "NAT may use a port again while the sockets at its ends are still in TIME_WAIT (60 s)", "60 or more"))

// NFConntrackTCPTimeoutUnacknowledged is net.netfilter.nf_conntrack_tcp_timeout_unacknowledged:
// how long an entry of an open connection waits for the ACK of data.
var NFConntrackTCPTimeoutUnacknowledged = newKey[time.Duration]("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged",
	parseDuration(time.Second), byDefault(5*time.Minute))
