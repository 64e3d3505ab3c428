// Package health says what is wrong with the TCP connections of a network
// namespace: whether it is a problem, whose, and what to do about it.
//
//	c, err := sockdiag.Dial(nil)
//	...
//	s, err := health.Take(ctx, c, health.Options{})
//	...
//	for _, f := range health.Diagnose(nil, s, health.Thresholds{}) {
//		fmt.Println(f.Severity, f.Summary)
//	}
//
// Take looks at the sockets, the settings and the counters, once. Diagnose makes
// Findings of that, with the numbers that they rest on and what helps, the best
// first. With two Snapshots, taken some seconds apart, it knows what grows and what
// happens; with one it says what it can. The IDs of the Findings are the constants
// of this package.
//
// No advice lowers tcp_max_tw_buckets, turns on what the kernel no longer has
// (tcp_tw_recycle), or expects a setting to shorten TIME_WAIT, which none does.
//
// # Headroom
//
// A connection is known by four things: two addresses and two ports. To one remote
// address and port, from one local address, there are as many connections as there
// are local ports that connect() chooses from, TIME_WAIT included, which lasts 60
// seconds. When they are used up connect() fails with EADDRNOTAVAIL, which no
// counter of the kernel's tells. Destination.Headroom is how many connects succeed
// until then: the ports of ip_local_port_range, without the reserved ones, without
// those that a socket is bound to (even if on another address), without those that
// have a connection to there already; and those with a TIME_WAIT that connect() may
// take over (tcp_tw_reuse).
//
// It is a number of the moment, and an upper bound in some cases. A socket that was
// bound to a port and then connected blocks it for all other destinations, as do its
// TIME_WAIT and a connection that came in to a listener that is gone; sock_diag does
// not tell those from others. Only a TIME_WAIT whose connection had timestamps is
// taken over; which ones had, sock_diag does not tell either, and they are all
// counted unless this host has timestamps off. And where the ends of the range are
// both even or both odd, connect() may pass over one port. A program that gives its
// sockets IP_LOCAL_PORT_RANGE has a range of its own.
// Behind a router that translates addresses the router has a headroom, too, which
// cannot be seen from here.
package health
