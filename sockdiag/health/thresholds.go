package health

// Thresholds are from where on something is a Finding. A field that is zero stands
// for its default; one that can never be reached leaves a Finding out. Shares are
// from 0 to 1.
type Thresholds struct {
	// The local ports to one destination: as much of all there are is left.
	PortsWarning  float64 // 0.20: room for the connections of twelve seconds at the full rate
	PortsCritical float64 // 0.02
	// Rate is the share of the connections a second that can be closed for good,
	// before the ports of a minute run out.
	Rate float64 // 0.70
	// Buckets is the share of tcp_max_tw_buckets.
	Buckets float64 // 0.80
	// Bound is the share of the ports that are bound by sockets that do nothing.
	Bound float64 // 0.20

	// Backlog is the share of a listener's queues, which hold one connection more than
	// their limit.
	Backlog float64 // 0.80
	// Cookies is the SYN cookies a second that nobody came back with.
	Cookies float64 // 100
	// Silent is the connections to one destination whose SYN was sent three times.
	Silent int // 10

	// CloseWait is the sockets in CLOSE_WAIT, if their number grows and most of the
	// earlier ones are still there. One that is older than a minute is a Finding in any
	// case.
	CloseWait int // 100
	FinWait2  int // 1000: those of which a fifth of TIME_WAIT is less
	// LastAck and FinWait1 are the sockets in these states that do not get on: what
	// they sent was sent again three times or more, or the peer's window is closed.
	// They have to be a fiftieth of the established connections besides: some of the
	// peers of a busy host always vanish, and all closes pass these states.
	LastAck  int // 100
	FinWait1 int // 100
	// Aborts is the share of closes by reset, of the connections opened.
	Aborts float64 // 0.05
	// Idle is the established connections without keepalive, if they are most.
	Idle int // 1000

	// The orphans, of tcp_max_orphans. Those that do not get on count up to four
	// times.
	OrphansWarning  float64 // 0.50
	OrphansCritical float64 // 0.90
	// The entries of nf_conntrack_max.
	ConntrackWarning  float64 // 0.75
	ConntrackCritical float64 // 0.95

	// PAWS is the segments a second that came in for a TIME_WAIT and were older than
	// it; or one in a hundred of the connections that were accepted. Before Linux 6.16
	// that alone, as the number has segments of open connections in it.
	PAWS float64 // 1
	// PAWSEstablished is the share of segments that was dropped as too old.
	PAWSEstablished float64 // 0.001

	// TimeWait is from how many on they are worth saying that they do no harm.
	TimeWait int // 1000
}

func (t Thresholds) orDefaults() Thresholds {
	return Thresholds{
		PortsWarning: orDefault(t.PortsWarning, 0.20), PortsCritical: orDefault(t.PortsCritical, 0.02),
		Rate: orDefault(t.Rate, 0.70), Buckets: orDefault(t.Buckets, 0.80), Bound: orDefault(t.Bound, 0.20),
		Backlog: orDefault(t.Backlog, 0.80), Cookies: orDefault(t.Cookies, 100), Silent: orDefault(t.Silent, 10),
		CloseWait: orDefault(t.CloseWait, 100), FinWait2: orDefault(t.FinWait2, 1000),
		LastAck: orDefault(t.LastAck, 100), FinWait1: orDefault(t.FinWait1, 100),
		Aborts: orDefault(t.Aborts, 0.05), Idle: orDefault(t.Idle, 1000),
		OrphansWarning: orDefault(t.OrphansWarning, 0.50), OrphansCritical: orDefault(t.OrphansCritical, 0.90),
		ConntrackWarning: orDefault(t.ConntrackWarning, 0.75), ConntrackCritical: orDefault(t.ConntrackCritical, 0.95),
		PAWS: orDefault(t.PAWS, 1), PAWSEstablished: orDefault(t.PAWSEstablished, 0.001),
		TimeWait: orDefault(t.TimeWait, 1000),
	}
}
