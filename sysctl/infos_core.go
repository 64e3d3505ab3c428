package sysctl

// coreInfos is about net.core.*, in the
// order of the names.
var coreInfos = []Info{
	{
		Name:    "net.core.netdev_max_backlog",
		Summary: "packets that wait for one CPU before the protocols",
		Doc: "How many packets wait for one CPU between the driver and the protocols. What does not fit is dropped before " +
			"TCP sees it, and counted in the second column of /proc/net/softnet_stat.",
		Unit:    "packets",
		Default: "1000",
		Range:   "any integer",
		Since:   "2.2",
		Scope:   Host,
		Risk:    "A long queue adds delay; a short one drops bursts.",
	},
	{
		Name:    "net.core.rmem_max",
		Summary: "the most bytes that SO_RCVBUF can ask for",
		Doc: "The most bytes that SO_RCVBUF can ask for; the kernel doubles what was asked. TCP buffers that no program set " +
			"grow up to the maximum of net.ipv4.tcp_rmem and do not follow it. Other namespaces than the initial one show " +
			"it, read-only, on newer kernels (6.12 does, 6.1 does not).",
		Unit:    "bytes",
		Default: "4194304 (212992 before Linux 6.18)",
		Range:   "from about 2300 to 2^31-1",
		Since:   "2.2",
		Scope:   Host,
		Risk:    "Memory: any program may then ask for that much for each socket.",
	},
	{
		Name:    "net.core.somaxconn",
		Summary: "the highest backlog of listen(), so of its queues",
		Doc: "The highest backlog that listen() can have. Both queues of a listener, of half-open connections and of those " +
			"that wait for accept(), end there. It is applied when listen() is called: listeners that exist keep theirs.",
		Unit:    "connections",
		Default: "4096 (128 before Linux 5.4)",
		Range:   "0 to 2^31-1",
		Since:   "2.4",
		Scope:   Namespace,
		Risk:    "Too high, it hides an accept() that is too slow: clients wait in the queue instead of going elsewhere.",
	},
	{
		Name:    "net.core.wmem_max",
		Summary: "the most bytes that SO_SNDBUF can ask for",
		Doc: "The most bytes that SO_SNDBUF can ask for; the kernel doubles what was asked. TCP buffers that no program set " +
			"grow up to the maximum of net.ipv4.tcp_wmem and do not follow it. Other namespaces than the initial one show " +
			"it, read-only, on newer kernels (6.12 does, 6.1 does not).",
		Unit:    "bytes",
		Default: "4194304 (212992 before Linux 6.18)",
		Range:   "from about 4600 to 2^31-1",
		Since:   "2.2",
		Scope:   Host,
		Risk:    "Memory: any program may then ask for that much for each socket.",
	},
}
