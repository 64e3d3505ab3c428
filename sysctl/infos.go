package sysctl

import "strings"

// infos is what is known about the keys: one entry for each, found by its name
// when the variable of the key is initialised. It is a list of tables, so that
// no file of them grows too long; a new table is one more line here.
var infos = [...][]Info{
	ipInfos,
	tcpInfos,
}

// infoOf returns the entry of a name, with the path that follows from the name.
// A name without an entry has these two facts and no other: the key can be read
// all the same, and that its entry was forgotten is for the tests to say, not
// for a panic in somebody's program.
func infoOf(name string) Info {
	info := Info{Name: name}
	for _, table := range infos {
		for _, entry := range table {
			if entry.Name == name {
				info = entry
			}
		}
	}
	info.Path = strings.ReplaceAll(name, ".", "/")
	return info
}

// ipInfos is about net.ipv4.ip_*, in the order of the names.
var ipInfos = []Info{
	{
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
	},
}

// tcpInfos is about net.ipv4.tcp_*, in the order of the names.
var tcpInfos = []Info{
	{
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
	},
	{
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
	},
	{
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
	},
	{
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
	},
	{
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
	},
	{
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
	},
	{
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
	},
	{
		Name: "net.ipv4.tcp_tw_reuse",
		Doc: "Whether connect() may take over a port whose connection to the same destination is in TIME_WAIT, has used " +
			"timestamps and is older than a second (since Linux 6.14 net.ipv4.tcp_tw_reuse_delay): 0 never, 1 always, " +
			"2 only within the host. It does nothing for the accepting side.",
		Unit:    "enum",
		Default: "2 (0 before Linux 4.19)",
		Range:   "0 to 2",
		Since:   "2.4",
		Scope:   Namespace,
		Risk: "Low while timestamps are on. Where a device on the way strips timestamps, or the peer's clock ticks more " +
			"slowly than the delay, single connects can fail.",
	},
}
