package sysctl

// closeInfos is about net.ipv4.tcp_* that matter once a connection is closed, in the
// order of the names.
var closeInfos = []Info{
	{
		Name:    "net.ipv4.tcp_fin_timeout",
		Summary: "how long FIN_WAIT2 without an owner lasts; not TIME_WAIT",
		Doc: "How long a connection that no process holds stays in FIN_WAIT2, waiting for the peer's FIN. It is not the " +
			"length of TIME_WAIT, which is always 60 s. A value v above 60 gives 2*(v-60) seconds, so 61 to 119 shorten it; " +
			"0 and below give about 3.5 retransmission timeouts.",
		Unit:    "seconds",
		Default: "60",
		Range:   "any integer up to 2^31-1 divided by the kernel's HZ (8589934 at HZ=250); 0 and below have a meaning",
		Since:   "2.2",
		Scope:   Namespace,
		Risk: "If it is short, a peer that still sends, or closes late, gets a RST. 61 to 119 do the opposite of what they " +
			"say.",
	},
	{
		Name:    "net.ipv4.tcp_invalid_ratelimit",
		Summary: "time between ACKs to segments that do not belong",
		Doc: "The shortest time between two ACKs that one socket, or one mini-socket in TIME_WAIT or FIN_WAIT2, sends " +
			"because of segments that do not belong to it. What falls under it is counted as TCPACKSkipped…. The kernel " +
			"rounds it up to its clock, 4 ms at HZ=250; 0 is no limit.",
		Unit:    "milliseconds",
		Default: "500",
		Range:   "0 to 2^31-1 (7.3 takes negative ones)",
		Since:   "4.0",
		Scope:   Namespace,
		Risk:    "0 lets two hosts answer each other without end; a long time delays the recovery of connections.",
	},
	{
		Name:    "net.ipv4.tcp_max_orphans",
		Summary: "sockets without a process that the host may have",
		Doc: "How many sockets without a process the whole host may have. Above it close() sends a RST, TCPAbortOnMemory is " +
			"counted and \"too many orphaned sockets\" is logged; one that makes no headway counts twice or four times. " +
			"Mini-sockets (TIME_WAIT, FIN_WAIT2) are not among them.",
		Unit:    "sockets",
		Default: "half the buckets of the host's TCP hash table (net.ipv4.tcp_ehash_entries)",
		Range:   "any integer",
		Since:   "2.2",
		Scope:   Host,
		Risk:    "Lowered, data that was written before close() is lost. Raised, up to 64 KB of memory for each.",
	},
	{
		Name:    "net.ipv4.tcp_max_tw_buckets",
		Summary: "TIME_WAIT and FIN_WAIT2 mini-sockets of the namespace",
		Doc: "How many mini-sockets (TIME_WAIT, and FIN_WAIT2 without an owner) a network namespace may have. Above it a " +
			"closing connection vanishes without TIME_WAIT and TCPTimeWaitOverflow is counted; nothing is logged and none " +
			"is evicted. 0 allows none, a negative value any number.",
		Unit:    "mini-sockets",
		Default: "half the buckets of the TCP hash table (net.ipv4.tcp_ehash_entries)",
		Range:   "any integer",
		Since:   "2.4",
		Scope:   Namespace,
		Risk: "Lowering it is no cure for many TIME_WAITs: peers get RSTs, and old segments can reach new connections. " +
			"Raising it costs about 256 bytes for each.",
	},
	{
		Name:    "net.ipv4.tcp_orphan_retries",
		Summary: "how often a FIN without an owner is repeated",
		Doc: "How often a connection that no process holds repeats its last data or FIN, in FIN_WAIT1, CLOSING and " +
			"LAST_ACK. 0 stands for 8, or for none after an ICMP error.",
		Unit:    "retransmissions",
		Default: "0",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer)",
		Since:   "2.4",
		Scope:   Namespace,
		Risk: "A low number (1 is over in less than 2 s) takes the last data from slow peers; it relieves a host with many " +
			"orphans.",
	},
	{
		Name:    "net.ipv4.tcp_rfc1337",
		Summary: "whether TIME_WAIT ignores a RST",
		Doc: "Whether TIME_WAIT ignores a RST: 0 lets one in the window end it, 1 does not, and does not start its 60 s " +
			"anew either. The kernel's documentation has it the other way round.",
		Unit:    "switch",
		Default: "0",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer); 0 is off, the others are on",
		Since:   "2.2",
		Scope:   Namespace,
		Risk: "With 1 a client whose SYN is refused for an old timestamp cannot reset the TIME_WAIT, which Linux otherwise " +
			"does in milliseconds: connect() runs into its timeout.",
	},
	{
		Name:    "net.ipv4.tcp_timestamps",
		Summary: "TCP timestamps, on which reuse of TIME_WAIT rests",
		Doc: "Whether connections use TCP timestamps: 0 no, 1 with a random offset, 2 without. They are what lets a " +
			"TIME_WAIT be reused (net.ipv4.tcp_tw_reuse) and what keeps old segments out of a new connection.",
		Unit:    "enum",
		Default: "1",
		Range: "0 to 255 (before Linux 5.13, but for late 5.10, any integer); only 0, 1 and 2 have a meaning of their own, " +
			"2 since Linux 4.10",
		Since: "2.2",
		Scope: Namespace,
		Risk: "0 gives up reuse of TIME_WAIT and the protection against wrapped sequence numbers. 2 shows the uptime of the " +
			"host, but keeps the timestamps of all clients behind one NAT address from each host in order.",
	},
	{
		Name:    "net.ipv4.tcp_tw_recycle",
		Summary: "gone; delete it from sysctl.conf",
		Doc: "Gone: it shortened TIME_WAIT and, to that end, refused connections whose timestamp was older than the last " +
			"one seen from the same address, which broke clients behind NAT. Delete it from sysctl.conf.",
		Unit:    "switch",
		Default: "0",
		Range:   "any integer; 0 is off",
		Since:   "2.4",
		Removed: "4.12",
		Scope:   Host, // of a namespace in 4.11 alone
		Risk:    "On kernels that have it, do not set it: connections from behind NAT fail at random.",
	},
	{
		Name:    "net.ipv4.tcp_tw_reuse",
		Summary: "whether connect() may take over a TIME_WAIT",
		Doc: "Whether connect() may take over a port whose connection to the same destination is in TIME_WAIT, has used " +
			"timestamps and is older than a second (since Linux 6.14 net.ipv4.tcp_tw_reuse_delay): 0 never, 1 always, 2 " +
			"only within the host. It does nothing for the accepting side.",
		Unit:    "enum",
		Default: "2 (0 before Linux 4.19)",
		Range:   "0 to 2",
		Since:   "2.4",
		Scope:   Namespace,
		Risk: "Low while timestamps are on. Where a device on the way strips timestamps, or the peer's clock ticks more " +
			"slowly than the delay, single connects can fail.",
	},
	{
		Name:    "net.ipv4.tcp_tw_reuse_delay",
		Summary: "how old a TIME_WAIT must be for tcp_tw_reuse",
		Doc: "How old a TIME_WAIT must be before net.ipv4.tcp_tw_reuse lets connect() take it over. Earlier kernels wait " +
			"for the next second of their clock.",
		Unit:    "milliseconds",
		Default: "1000",
		Range:   "1 to 60000",
		Since:   "6.14",
		Scope:   Namespace,
		Risk: "It must not be shorter than a tick of the peer's timestamps (500 ms on some old systems), or the peer takes " +
			"the new SYN for an old one.",
	},
}
