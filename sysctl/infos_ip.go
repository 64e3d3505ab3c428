package sysctl

// ipInfos is about net.ipv4.ip_*, in the
// order of the names.
var ipInfos = []Info{
	{
		Name:    "net.ipv4.ip_autobind_reuse",
		Summary: "bind() to port 0 may share ports once all are taken",
		Doc:     "Whether bind() to port 0, with SO_REUSEADDR, may choose a port that is in use once all of the range are.",
		Unit:    "switch",
		Default: "0",
		Range:   "0 and 1",
		Since:   "5.7",
		Scope:   Namespace,
		Risk:    "For experts: two sockets on one port cannot both listen, nor both reach the same destination.",
	},
	{
		Name:    "net.ipv4.ip_dynaddr",
		Summary: "change the source address while a connection is opened",
		Doc: "Whether a connection in SYN_SENT changes to a new source address when that of its interface changes, as on " +
			"dialled lines: 0 no, others yes, 2 with a line in the log.",
		Unit:    "enum",
		Default: "0",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer)",
		Since:   "2.2",
		Scope:   Namespace,
		Risk:    "None on servers, which have no use for it.",
	},
	{
		Name:    "net.ipv4.ip_forward",
		Summary: "whether the host is an IPv4 router",
		Doc:     "Whether IPv4 packets for others are passed on. It says nothing about the sockets of the host.",
		Unit:    "switch",
		Default: "0",
		Range:   "any integer; 0 is off",
		Since:   "2.2",
		Scope:   Namespace,
		Risk: "Writing it resets settings of the interfaces to those of a host or of a router. Without it containers and " +
			"NAT have no way out.",
	},
	{
		Name:    "net.ipv4.ip_local_port_range",
		Summary: "the ports that connect() and bind() to port 0 choose from",
		Doc: "The first and the last port that connect() and bind() to port 0 choose from, for TCP and UDP over IPv4 and " +
			"IPv6. It bounds the connections from one source address to one destination at a time, those in TIME_WAIT " +
			"included.",
		Unit:    "ports",
		Default: "32768 60999",
		Range:   "two ports from 1 to 65535, the first not above the last and not below net.ipv4.ip_unprivileged_port_start",
		Since:   "2.2",
		Scope:   Namespace,
		Risk: "A wider range can take the port of a service before it starts, and a port that something is bound to is lost " +
			"for every destination: reserve such ports with net.ipv4.ip_local_reserved_ports.",
	},
	{
		Name:    "net.ipv4.ip_local_reserved_ports",
		Summary: "ports of the local range that are left for services",
		Doc: "Ports that connect() and bind() to port 0 do not choose, for services that bind them by number. An explicit " +
			"bind() gets them as ever.",
		Unit:    "ports",
		Default: "none",
		Range:   "a list such as 8080,9000-9010; a newline clears it, an empty write does nothing",
		Since:   "2.6.35",
		Scope:   Namespace,
		Risk:    "Each one is a connection less to every destination.",
	},
	{
		Name:    "net.ipv4.ip_nonlocal_bind",
		Summary: "bind() takes addresses that the host does not have",
		Doc:     "Whether bind() takes addresses that the host does not have, as failover pairs need it.",
		Unit:    "switch",
		Default: "0",
		Range:   "0 to 255 (before Linux 5.13, but for late 5.10, any integer); 0 is off, the others are on",
		Since:   "2.4",
		Scope:   Namespace,
		Risk:    "A wrong address in a configuration is no error any more: the service listens where nobody comes.",
	},
	{
		Name:    "net.ipv4.ip_unprivileged_port_start",
		Summary: "the first port that takes no privilege to bind",
		Doc: "The first port that bind() gives to a process without CAP_NET_BIND_SERVICE. net.ipv4.ip_local_port_range " +
			"cannot begin below it.",
		Unit:    "ports",
		Default: "1024",
		Range:   "0 to the first port of net.ipv4.ip_local_port_range",
		Since:   "4.11",
		Scope:   Namespace,
		Risk:    "Lowered, any user of the namespace can take the port of a service that is not running.",
	},
}
