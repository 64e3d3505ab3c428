package sysctl

// The beginning of connections: SYNs, queues of listeners, local ports.

// IPAutobindReuse is net.ipv4.ip_autobind_reuse: whether bind() to port 0 with
// SO_REUSEADDR may share a port once all are taken. For experts: two such
// sockets cannot both listen, nor both reach one destination.
var IPAutobindReuse = newKey[bool]("net.ipv4.ip_autobind_reuse", parseSwitch, byDefault(false))

// IPDynaddr is net.ipv4.ip_dynaddr: whether a connection in SYN_SENT changes to
// a new source address when that of its interface changes, as on dialled lines.
// 0 is no, and any other value yes; 2 also logs it. No server needs it.
var IPDynaddr = newKey[int]("net.ipv4.ip_dynaddr", parseInt, byDefault(0))

// IPForward is net.ipv4.ip_forward: whether IPv4 packets for others are passed
// on, so whether this is a router. It says nothing about the host's own sockets;
// writing it resets settings of the interfaces.
var IPForward = newKey[bool]("net.ipv4.ip_forward", parseSwitch, byDefault(false))

// IPLocalPortRange is net.ipv4.ip_local_port_range: the ports from which
// connect() and bind() to port 0 choose. A service that listens on a port
// inside the range takes it away for every destination. The kernel first tries
// the ports with the parity of the first one, so ends of different parity use
// the range best.
var IPLocalPortRange = newKey[PortRange]("net.ipv4.ip_local_port_range", parsePortRange,
	byDefault(PortRange{32768, 60999}), traps(portRangeTrap))

// IPLocalReservedPorts is net.ipv4.ip_local_reserved_ports: ports of
// [IPLocalPortRange] that connect() and bind() to port 0 leave alone, for
// services that bind them by number. To clear the list write a newline: an empty
// write changes nothing.
var IPLocalReservedPorts = newKey[Ports]("net.ipv4.ip_local_reserved_ports", parsePorts, byDefault(Ports(nil)))

// IPNonlocalBind is net.ipv4.ip_nonlocal_bind: whether bind() takes addresses that
// the host does not have, as failover pairs need it. Where it is on, a wrong
// address in a configuration is no error.
var IPNonlocalBind = newKey[bool]("net.ipv4.ip_nonlocal_bind", parseSwitch, byDefault(false))

// IPUnprivilegedPortStart is net.ipv4.ip_unprivileged_port_start: the first port
// that bind() gives to a process without CAP_NET_BIND_SERVICE. It is also the
// lowest that [IPLocalPortRange] can begin with.
var IPUnprivilegedPortStart = newKey[uint16]("net.ipv4.ip_unprivileged_port_start", parsePort, byDefault[uint16](1024))

// Somaxconn is net.core.somaxconn: the highest backlog that listen() can have,
// and so the length of the queues of every listener. It is applied when listen()
// is called: listeners that exist keep theirs. Go's net.Listen asks for
// exactly this many.
var Somaxconn = newKey[int]("net.core.somaxconn", parseInt, byDefaultSince(5, 4, 4096, 128),
	trapIf(below(128), "listeners ask for longer queues and get this: a short burst of connections is dropped", "4096"))

// TCPAbortOnOverflow is net.ipv4.tcp_abort_on_overflow: whether a client that
// completes the handshake while the accept queue is full gets a RST. By default
// it is left to try again, and thinks that it is connected meanwhile.
var TCPAbortOnOverflow = newKey[bool]("net.ipv4.tcp_abort_on_overflow", parseSwitch, byDefault(false),
	trapIf(isOn, "a burst that a retry would outlast becomes ECONNRESET at the clients", "0"))

// TCPFastOpen is net.ipv4.tcp_fastopen: who may send data along with the SYN
// (RFC 7413). A program must also ask for it, except for what
// [FastOpenServerAll] covers. Negative values set all the bits that they have.
var TCPFastOpen = newKey[FastOpen]("net.ipv4.tcp_fastopen", parseInt, byDefaultSince(3, 13, FastOpenClient, 0))

// TCPMaxSynBacklog is net.ipv4.tcp_max_syn_backlog. In spite of its name it
// does not limit the connections in SYN_RECV: the backlog of listen() does. It
// matters only where [TCPSyncookies] is [SyncookiesOff].
var TCPMaxSynBacklog = newKey[int]("net.ipv4.tcp_max_syn_backlog", parseInt, byTable(synBacklog))

// TCPMigrateReq is net.ipv4.tcp_migrate_req: whether connections that wait in the
// queue of a listener that closes move to another of its SO_REUSEPORT group.
// By default they are reset, which is what a rolling restart then shows.
var TCPMigrateReq = newKey[bool]("net.ipv4.tcp_migrate_req", parseSwitch, byDefault(false))

// TCPSynLinearTimeouts is net.ipv4.tcp_syn_linear_timeouts: how many of the
// repeated SYNs follow each after a second, before the time between them doubles.
var TCPSynLinearTimeouts = newKey[int]("net.ipv4.tcp_syn_linear_timeouts", parseInt, byDefault(4))

// TCPSynRetries is net.ipv4.tcp_syn_retries: how often connect() repeats its SYN,
// and with that how long SYN_SENT lasts before ETIMEDOUT: 131 seconds by default,
// 127 before Linux 6.5.
var TCPSynRetries = newKey[int]("net.ipv4.tcp_syn_retries", parseInt, byDefault(6))

// TCPSynackRetries is net.ipv4.tcp_synack_retries: how often a listener repeats
// its SYN-ACK, and with that how long SYN_RECV lasts: 63 seconds by default.
// Under a flood with forged addresses 2 or 3 empty the queue sooner.
var TCPSynackRetries = newKey[int]("net.ipv4.tcp_synack_retries", parseInt, byDefault(5),
	trapIf(below(2), "one lost packet, or a slow client, and the connection does not come about", "2 to 5"))

// TCPSyncookies is net.ipv4.tcp_syncookies: whether a listener whose queue of
// half-open connections is full answers a SYN with a cookie, and so without
// memory for it, instead of dropping it. Values above 2 act as
// [SyncookiesOnOverflow]. A kernel that was built without cookies has no such
// file, which is an [fs.ErrNotExist].
var TCPSyncookies = newKey[Syncookies]("net.ipv4.tcp_syncookies", parseInt, byDefault(SyncookiesOnOverflow), traps(syncookiesTrap))
