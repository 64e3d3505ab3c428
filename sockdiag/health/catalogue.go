package health

// The Findings that there are, by their IDs. In brackets: the severities that they
// can have.
const (
	PortExhaustion    = "TW-PORT-EXHAUST"      // [warning, critical] the local ports to a destination are used up, or nearly
	ClosingRate       = "TW-RATE"              // [warning] connections to a destination are closed faster than TIME_WAIT allows
	ReuseOff          = "TW-REUSE-OFF"         // [warning] and connect() may not take over the TIME_WAITs there
	ReuseIneffective  = "TW-REUSE-INEFFECTIVE" // [warning] or may, and it does not help
	BucketOverflow    = "TW-BUCKET-OVERFLOW"   // [warning, critical] connections that close get no TIME_WAIT
	CapLowered        = "TW-CAP-LOWERED"       // [info, warning] tcp_max_tw_buckets is below the kernel's own
	Recycle           = "TW-RECYCLE-CONF"      // [critical] tcp_tw_recycle is on, on a kernel before 4.12; configuration files are not read
	ServerCloses      = "TW-SERVER-CLOSES"     // [info] most TIME_WAITs are of connections that came in
	ManyTimeWait      = "TW-OK"                // [info] many TIME_WAITs, which do no harm
	PAWSSyn           = "TW-PAWS-SYN"          // [warning] connections that come in meet an older TIME_WAIT
	RFC1337           = "TW-RFC1337-ON"        // [info, warning] tcp_rfc1337 is on
	TimestampsOff     = "TS-OFF"               // [info, warning] tcp_timestamps is off
	PAWSEstablished   = "PAWS-ESTAB"           // [warning] data is dropped as too old
	FinWait2Pileup    = "FW2-PILEUP"           // [info, warning] peers do not close, or we do but by half
	FinTimeoutTrap    = "FIN-TIMEOUT-TRAP"     // [warning] tcp_fin_timeout has a value that means another time
	CloseWaitLeak     = "CLOSEWAIT-LEAK"       // [warning, critical] a program does not close what its peers have closed
	LastAckStuck      = "LASTACK-STUCK"        // [warning] peers do not acknowledge the end
	FinWait1Stuck     = "FINWAIT1-STUCK"       // [warning] peers do not take the end of our data
	AbortiveClose     = "ABORTIVE-CLOSE"       // [warning] connections are cut off instead of closed
	NoKeepalive       = "KEEPALIVE-NONE"       // [info] nobody would notice that a peer has gone
	OrphanPressure    = "ORPHAN-PRESSURE"      // [warning, critical] too many connections that no process has open
	TCPMemory         = "TCP-MEM"              // [warning, critical] TCP's memory is short
	ConntrackPressure = "CONNTRACK-PRESSURE"   // [warning, critical] the table of connection tracking is filling up
	AcceptOverflow    = "ACCEPT-OVERFLOW"      // [warning, critical] a program does not accept fast enough
	HalfOpenMismatch  = "HALF-OPEN-MISMATCH"   // [warning] clients think that they are connected
	SynBacklog        = "SYN-BACKLOG"          // [warning, critical] a queue of half-open connections is full
	SynFlood          = "SYN-FLOOD"            // [critical] SYNs that nobody means to follow up
	SyncookiesOff     = "SYNCOOKIES-OFF"       // [warning] tcp_syncookies is off
	SynSentStuck      = "SYNSENT-STUCK"        // [warning] a destination does not answer
	BoundHog          = "BIND-EXPLICIT-HOG"    // [warning] ports are taken from everybody by sockets that do nothing
	RangeOverlap      = "PORTRANGE-OVERLAP"    // [info] services listen on ports of the range
	RangeSmall        = "PORTRANGE-SMALL"      // [warning] ip_local_port_range has fewer ports than the kernel's own
	RangeParity       = "PORTRANGE-PARITY"     // [info] its ends are both even or both odd
	SettingTrap       = "SETTING-TRAP"         // [info] another setting does something other than it seems to
	Scope             = "NETNS-SCOPE"          // [info] some numbers are of the host, and cannot be judged from here
	BlindSpots        = "BLIND-SPOTS"          // [warning] something could not be read
)
