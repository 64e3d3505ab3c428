package sysctl

import "time"

// The life of connections: keep-alive, retransmission, congestion.

// TCPChallengeACKLimit is net.ipv4.tcp_challenge_ack_limit: how many challenge
// ACKs (RFC 5961) are sent in a second, 2147483647 for any number. A lower
// number helps who guesses at connections from afar.
var TCPChallengeACKLimit = newKey[int]("net.ipv4.tcp_challenge_ack_limit", parseInt, byDefaultOf(challengeLimit), traps(challengeTrap))

// TCPCongestionControl is net.ipv4.tcp_congestion_control: the algorithm of new
// connections, such as "cubic". Connections that exist, and those that ask for
// one with TCP_CONGESTION, do not follow it; accepted ones have that of their
// listener.
var TCPCongestionControl = newKey[string]("net.ipv4.tcp_congestion_control", parseName)

// TCPECN is net.ipv4.tcp_ecn: whether connections use Explicit Congestion
// Notification. It has nothing to do with TIME_WAIT.
var TCPECN = newKey[ECN]("net.ipv4.tcp_ecn", parseInt, byDefault(ECNPassive))

// TCPKeepaliveIntvl is net.ipv4.tcp_keepalive_intvl: the time between two
// keep-alive probes that are not answered. Go sets its own, 15 seconds.
var TCPKeepaliveIntvl = newKey[time.Duration]("net.ipv4.tcp_keepalive_intvl", parseDuration(time.Second), byDefault(75*time.Second))

// TCPKeepaliveProbes is net.ipv4.tcp_keepalive_probes: how many keep-alive probes
// may go unanswered before the connection is given up, with ETIMEDOUT for its
// owner. With the defaults that is 2 hours and 11 minutes after the last data.
var TCPKeepaliveProbes = newKey[int]("net.ipv4.tcp_keepalive_probes", parseInt, byDefault(9))

// TCPKeepaliveTime is net.ipv4.tcp_keepalive_time: how long a connection is
// idle before the first keep-alive probe. Connections of Go's net.Dialer and
// net.ListenConfig do not follow it: unless told otherwise they set a time of
// their own, 15 seconds.
var TCPKeepaliveTime = newKey[time.Duration]("net.ipv4.tcp_keepalive_time", parseDuration(time.Second), byDefault(2*time.Hour))

// TCPNoMetricsSave is net.ipv4.tcp_no_metrics_save: whether the kernel forgets
// what a connection taught it about the path. It also makes every peer an
// unknown one to [TCPMaxSynBacklog].
var TCPNoMetricsSave = newKey[bool]("net.ipv4.tcp_no_metrics_save", parseSwitch, byDefault(false))

// TCPRetries1 is net.ipv4.tcp_retries1: after how many retransmissions TCP asks
// the routing for another path. No connection ends by it.
var TCPRetries1 = newKey[int]("net.ipv4.tcp_retries1", parseInt, byDefault(3))

// TCPRetries2 is net.ipv4.tcp_retries2: for how many retransmissions a connection
// waits for an ACK before it is given up with ETIMEDOUT: at least 924 seconds by
// default. TCP_USER_TIMEOUT sets a time of its own for a socket.
var TCPRetries2 = newKey[int]("net.ipv4.tcp_retries2", parseInt, byDefault(15),
	trapIf(below(8), "connections end after less than the 100 s that RFC 1122 asks for: short outages break them", "8 or more"))

// TCPRTOMax is net.ipv4.tcp_rto_max_ms: the longest time between two
// retransmissions, however often it has doubled. A lower one ends orphans, and
// connections that got no answer, sooner.
var TCPRTOMax = newKey[time.Duration]("net.ipv4.tcp_rto_max_ms", parseDuration(time.Millisecond), byDefault(2*time.Minute))

// TCPRTOMin is net.ipv4.tcp_rto_min_us: the shortest retransmission timeout, for
// routes that set none (ip route … rto_min). What lasts some timeouts, as
// FIN_WAIT2 with [TCPFinTimeout] 0, gets shorter with it.
var TCPRTOMin = newKey[time.Duration]("net.ipv4.tcp_rto_min_us", parseDuration(time.Microsecond), byDefault(200*time.Millisecond),
	trapIf(below(40*time.Millisecond), "shorter than peers delay their ACKs (40 ms on Linux): data is sent twice without need", "40000 or more"))

// TCPSlowStartAfterIdle is net.ipv4.tcp_slow_start_after_idle: whether a
// connection that was idle for a retransmission timeout starts slowly again.
// Off, pooled connections keep their speed between requests.
var TCPSlowStartAfterIdle = newKey[bool]("net.ipv4.tcp_slow_start_after_idle", parseSwitch, byDefault(true))
