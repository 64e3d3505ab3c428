package sysctl

// openInfos is about net.ipv4.tcp_* that matter while a connection is opened, in the
// order of the names.
var openInfos = []Info{
	{
		Name:    "net.ipv4.tcp_abort_on_overflow",
		Summary: "reset clients that meet a full accept queue",
		Doc: "Whether a client whose handshake ends while the accept queue is full gets a RST. By default its last ACK is " +
			"dropped, the client thinks that it is connected, and the SYN-ACK is repeated. A SYN that meets a full queue is " +
			"dropped without a word either way.",
		Unit:    "switch",
		Default: "0",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer); 0 is off, the others are on",
		Since:   "2.4",
		Scope:   Namespace,
		Risk:    "Clients see ECONNRESET after a short burst that a retry would have outlasted.",
	},
	{
		Name:    "net.ipv4.tcp_fastopen",
		Summary: "who may send data along with the SYN, as a sum of bits",
		Doc: "TCP Fast Open (RFC 7413), as a sum of bits: 1 clients, 2 listeners with TCP_FASTOPEN, 4 clients without a " +
			"cookie, 0x200 listeners ask for no cookie, 0x400 all listeners. Programs must ask for it, but for the last.",
		Unit:    "mask",
		Default: "1 (0 before Linux 3.13)",
		Range:   "any integer",
		Since:   "3.6",
		Scope:   Namespace,
		Risk: "Devices on the way that do not know it drop the SYN; without a cookie (0x200) anybody can have data answered " +
			"to a forged address.",
	},
	{
		Name:    "net.ipv4.tcp_max_syn_backlog",
		Summary: "half-open connections, only where tcp_syncookies is 0",
		Doc: "Matters only with net.ipv4.tcp_syncookies=0: when less than a quarter of this many half-open connections is " +
			"free, a listener drops SYNs from peers that the host does not know. The length of the queue itself is limited " +
			"by the backlog of listen().",
		Unit:    "connections",
		Default: "1/128 of the buckets of the TCP hash table (net.ipv4.tcp_ehash_entries), at least 128",
		Range:   "any integer",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "Low. Raising it does not lengthen any queue.",
	},
	{
		Name:    "net.ipv4.tcp_migrate_req",
		Summary: "hand the queue of a closing listener to its group",
		Doc: "Whether connections in the queue of a listener that closes move to another listener of its SO_REUSEPORT " +
			"group. By default they are reset.",
		Unit:    "switch",
		Default: "0",
		Range:   "0 and 1",
		Since:   "5.14",
		Scope:   Namespace,
		Risk:    "A connection can reach a listener with other socket options than the one that it was made for.",
	},
	{
		Name:    "net.ipv4.tcp_syn_linear_timeouts",
		Summary: "repeated SYNs that come a second apart",
		Doc:     "How many of the repeated SYNs follow each after a second, before the time between them doubles.",
		Unit:    "retransmissions",
		Default: "4",
		Range:   "0 to 127",
		Since:   "6.5",
		Scope:   Namespace,
		Risk:    "More of them are more load on a destination that is down.",
	},
	{
		Name:    "net.ipv4.tcp_syn_retries",
		Summary: "how often connect() repeats its SYN",
		Doc: "How often connect() repeats its SYN, and with that how long SYN_SENT lasts before ETIMEDOUT: 131 s by " +
			"default, 127 s before Linux 6.5.",
		Unit:    "retransmissions",
		Default: "6",
		Range:   "1 to 127",
		Since:   "2.2",
		Scope:   Namespace,
		Risk: "A low number gives up on destinations that are slow or lose packets; programs have their own timeouts for " +
			"connect().",
	},
	{
		Name:    "net.ipv4.tcp_synack_retries",
		Summary: "how often a listener repeats its SYN-ACK",
		Doc: "How often a listener repeats its SYN-ACK, and with that how long SYN_RECV lasts: the last is sent after 31 s " +
			"by default, and the end comes after 63 s.",
		Unit:    "retransmissions",
		Default: "5",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer)",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "0 and 1 lose clients that are slow or whose packets are lost.",
	},
	{
		Name:    "net.ipv4.tcp_syncookies",
		Summary: "answer SYNs by cookies when the queue is full",
		Doc: "Whether a listener whose queue of half-open connections is full answers a SYN with a cookie instead of " +
			"dropping it: 0 never, 1 when it is full, 2 always. Such connections lose TCP options unless they use " +
			"timestamps.",
		Unit:    "enum",
		Default: "1; there is no file where the kernel is built without CONFIG_SYN_COOKIES",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer); only 0, 1 and 2 have a meaning of their own",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "0 drops SYNs under a flood; 2 is for tests.",
	},
}
