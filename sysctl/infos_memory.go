package sysctl

// memoryInfos is about net.ipv4.tcp_* about memory, in the
// order of the names.
var memoryInfos = []Info{
	{
		Name:    "net.ipv4.tcp_child_ehash_entries",
		Summary: "hash table of the next network namespace made here",
		Doc: "The buckets of the TCP hash table that the next network namespace made from this one gets for itself, rounded " +
			"up to a power of two; 0 lets it share the one of the host. Its tcp_max_tw_buckets (a half) and " +
			"tcp_max_syn_backlog (1/128, at least 128) follow.",
		Unit:    "buckets",
		Default: "0",
		Range:   "0 to 16777216",
		Since:   "6.1",
		Scope:   Namespace,
		Risk:    "A small table means few TIME_WAITs allowed, and slow lookups.",
	},
	{
		Name:    "net.ipv4.tcp_ehash_entries",
		Summary: "size of the TCP hash table; negative: shared",
		Doc: "The buckets of the hash table of this namespace's TCP connections. The file has a negative number where it is " +
			"the table of the initial namespace. It cannot be written; the kernel parameter thash_entries= sets it.",
		Unit:    "buckets",
		Default: "by the memory of the host, at most 524288; in other namespaces see net.ipv4.tcp_child_ehash_entries",
		Range:   "none, read-only",
		Since:   "6.1",
		Scope:   Namespace,
		Risk:    "None.",
	},
	{
		Name:    "net.ipv4.tcp_mem",
		Summary: "pages that all TCP buffers may take: low, pressure, high",
		Doc: "How many pages the buffers of all TCP sockets of the host may take. Above the second, buffers are kept small " +
			"until below the first again; above the third, sockets get no memory, orphans are reset, TCPAbortOnMemory is " +
			"counted and \"out of memory -- consider tuning tcp_mem\" is logged. /proc/net/sockstat has the pages in use as " +
			"\"mem\".",
		Unit:    "pages",
		Default: "by the memory at boot: the second a sixteenth of it, the first 3/4 and the third 3/2 of that",
		Range:   "three integers, of any order",
		Since:   "2.4",
		Scope:   Host,
		Risk:    "Too low, connections stall and are reset; too high, TCP takes the memory of programs.",
	},
	{
		Name:    "net.ipv4.tcp_rmem",
		Summary: "receive buffer of a socket: min, default, max",
		Doc: "The receive buffer of a TCP socket: what it keeps when memory is short, what it starts with, and how far it " +
			"grows by itself. SO_RCVBUF sets a fixed one (at most net.core.rmem_max).",
		Unit: "bytes",
		Default: "4096 131072 and 33554432 (6291456 before Linux 6.16), but no more than 1/128 of the memory at boot; a new " +
			"namespace takes those of the initial one",
		Range: "three integers from 1 to 2^31-1",
		Since: "2.4",
		Scope: Namespace,
		Risk:  "A high default or maximum is memory for each connection; a low one is throughput on long paths.",
	},
	{
		Name:    "net.ipv4.tcp_wmem",
		Summary: "send buffer of a socket: min, default, max",
		Doc: "The send buffer of a TCP socket: what it keeps when memory is short, what it starts with, and how far it " +
			"grows by itself. SO_SNDBUF sets a fixed one (at most net.core.wmem_max). An orphan in FIN_WAIT1 whose peer " +
			"does not read holds up to the maximum.",
		Unit: "bytes",
		Default: "4096 16384 and 4194304, but no more than 1/128 of the memory at boot; a new namespace takes those of the " +
			"initial one",
		Range: "three integers from 1 to 2^31-1",
		Since: "2.4",
		Scope: Namespace,
		Risk:  "A high default or maximum is memory for each connection; a low one is throughput on long paths.",
	},
}
