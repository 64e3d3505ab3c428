package sysctl

// lifeInfos is about net.ipv4.tcp_* that matter while a connection is open, in the
// order of the names.
var lifeInfos = []Info{
	{
		Name:    "net.ipv4.tcp_challenge_ack_limit",
		Summary: "challenge ACKs (RFC 5961) in a second",
		Doc: "How many challenge ACKs (RFC 5961) are sent in a second, to RSTs and SYNs that may be forged; 2147483647 is " +
			"any number. Each connection has a limit of its own besides (net.ipv4.tcp_invalid_ratelimit).",
		Unit:    "ACKs per second",
		Default: "2147483647 (1000 before Linux 6.1, 100 before 4.7)",
		Range:   "any integer",
		Since:   "3.6",
		Scope:   Namespace,
		Risk:    "A limit for all lets a stranger find out about connections by using it up.",
	},
	{
		Name:    "net.ipv4.tcp_congestion_control",
		Summary: "the congestion control of new connections",
		Doc: "The congestion control of new connections that ask for none with TCP_CONGESTION. Accepted ones have that of " +
			"their listener.",
		Unit:    "name",
		Default: "chosen when the kernel was built, cubic mostly; a new namespace takes that of the initial one",
		Range:   "a name of net.ipv4.tcp_available_congestion_control, or of a module that can be loaded",
		Since:   "2.6.13",
		Scope:   Namespace,
		Risk:    "Algorithms share a bottleneck unevenly; dctcp is for data centres whose switches mark packets.",
	},
	{
		Name:    "net.ipv4.tcp_ecn",
		Summary: "Explicit Congestion Notification",
		Doc: "Whether connections use Explicit Congestion Notification: 0 no, 1 both ways, 2 only where the peer asks for " +
			"it. Since Linux 7.0 listeners agree to AccECN (RFC 9768) with 3, 4 and 5, while connect() asks for AccECN, ECN " +
			"and nothing.",
		Unit:    "enum",
		Default: "2",
		Range:   "0 to 5 (before Linux 7.0 0 to 2, in 5.10 0 to 255)",
		Since:   "2.4",
		Scope:   Namespace,
		Risk:    "Few devices still drop SYNs that ask for it.",
	},
	{
		Name:    "net.ipv4.tcp_keepalive_intvl",
		Summary: "time between unanswered keep-alive probes",
		Doc: "The time between two keep-alive probes that are not answered, for sockets with SO_KEEPALIVE that did not set " +
			"a time of their own with TCP_KEEPINTVL.",
		Unit:    "seconds",
		Default: "75",
		Range:   "any integer up to 2^31-1 divided by the kernel's HZ (8589934 at HZ=250)",
		Since:   "2.4",
		Scope:   Namespace,
		Risk:    "Short, a pause of the network ends connections that would have gone on.",
	},
	{
		Name:    "net.ipv4.tcp_keepalive_probes",
		Summary: "unanswered keep-alive probes before the end",
		Doc: "How many keep-alive probes may go unanswered before the connection is reset, with ETIMEDOUT for its owner. " +
			"With the other defaults that is 7875 s after the last data.",
		Unit:    "probes",
		Default: "9",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer)",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "A low number ends connections that lost a few packets.",
	},
	{
		Name:    "net.ipv4.tcp_keepalive_time",
		Summary: "idle time before the first keep-alive probe",
		Doc: "How long a connection is idle before the first keep-alive probe, for sockets with SO_KEEPALIVE that did not " +
			"set a time of their own with TCP_KEEPIDLE. A socket without SO_KEEPALIVE is never probed.",
		Unit:    "seconds",
		Default: "7200",
		Range:   "any integer up to 2^31-1 divided by the kernel's HZ (8589934 at HZ=250)",
		Since:   "2.2",
		Scope:   Namespace,
		Risk: "Firewalls, NAT and load balancers usually forget an idle connection much sooner than the default; a short " +
			"time costs packets on every idle connection.",
	},
	{
		Name:    "net.ipv4.tcp_no_metrics_save",
		Summary: "forget what a connection taught about the path",
		Doc: "Whether the round-trip time and other measures of a connection that ends are forgotten instead of kept for " +
			"the next one. Peers without them are unknown ones to net.ipv4.tcp_max_syn_backlog.",
		Unit:    "switch",
		Default: "0",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer); 0 is off, the others are on",
		Since:   "2.6",
		Scope:   Namespace,
		Risk:    "On, each connection learns anew; off, a bad moment slows the next ones.",
	},
	{
		Name:    "net.ipv4.tcp_retries1",
		Summary: "retransmissions before another route is looked for",
		Doc:     "After how many retransmissions TCP asks the routing for another path. No connection ends by it.",
		Unit:    "retransmissions",
		Default: "3",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer)",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "Low.",
	},
	{
		Name:    "net.ipv4.tcp_retries2",
		Summary: "retransmissions before a connection is given up",
		Doc: "For how many retransmissions a connection (ESTABLISHED, CLOSE_WAIT, or FIN_WAIT1 with an owner) waits for an " +
			"ACK before it ends with ETIMEDOUT and TCPAbortOnTimeout is counted: at least 924.6 s by default. " +
			"TCP_USER_TIMEOUT sets a time for a socket.",
		Unit:    "retransmissions",
		Default: "15",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer)",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "Below 8 it is shorter than the 100 s of RFC 1122: short outages end connections.",
	},
	{
		Name:    "net.ipv4.tcp_rto_max_ms",
		Summary: "the longest time between two retransmissions",
		Doc: "The longest time between two retransmissions, however often it has doubled. With a lower one the number of " +
			"retransmissions is spent sooner: connections without an answer, and orphans, end sooner.",
		Unit:    "milliseconds",
		Default: "120000",
		Range:   "1000 to 120000",
		Since:   "6.15",
		Scope:   Namespace,
		Risk:    "Lowered, net.ipv4.tcp_retries2 stands for a shorter time.",
	},
	{
		Name:    "net.ipv4.tcp_rto_min_us",
		Summary: "the shortest retransmission timeout",
		Doc: "The shortest retransmission timeout, for routes that set none. The 3.5 timeouts that FIN_WAIT2 lasts at least " +
			"follow it.",
		Unit:    "microseconds",
		Default: "200000",
		Range:   "1 to 2^31-1",
		Since:   "6.11",
		Scope:   Namespace,
		Risk:    "Too short, data is sent again that was only acknowledged late.",
	},
	{
		Name:    "net.ipv4.tcp_slow_start_after_idle",
		Summary: "start slowly again after a pause",
		Doc: "Whether a connection that was idle for a retransmission timeout starts slowly again. 0 lets pooled " +
			"connections keep their congestion window.",
		Unit:    "switch",
		Default: "1",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer); 0 is off, the others are on",
		Since:   "2.6.18",
		Scope:   Namespace,
		Risk:    "0 sends a burst after a pause, into a network that may have changed.",
	},
}
