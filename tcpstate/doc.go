// Package tcpstate is the vocabulary of TCP connection states as Linux numbers
// them: a [State], a [Set] of states, [Counts] of sockets per state, and the
// state machine. It imports the standard library only and works on every
// platform.
//
// # Numbers
//
// The numbers are those of include/net/tcp_states.h. They are the ones in the
// st column of /proc/net/tcp, in tcpi_state of TCP_INFO and in idiag_state of a
// sock_diag reply, and they are part of the kernel's interface: they never
// change, new ones are only added. A number that this package has no name for
// is kept, printed as "State(42)" and read back from that, so that a newer
// kernel costs nothing but a name.
//
// # Spellings
//
// One state has up to four names: TIME_WAIT (the kernel, netstat), TIME-WAIT
// (RFC 9293), ESTAB for ESTABLISHED and UNCONN for CLOSE (ss), 06
// (/proc/net/tcp). [Parse] takes all of them; String always answers as netstat
// does, which is the spelling that logs and dashboards are already searched
// for.
//
// # Sets
//
// Bit n of a [Set] is the state with number n, which makes a Set the
// idiag_states mask of a request to the kernel. [All] has every bit, not only
// those that have a name today.
//
// # State machine
//
// [Transitions] is what Linux does, row by row, beside what RFC 9293 says.
// [State.Next] looks up one row. [State.MayBecome] is for those who poll: it
// tells whether what is seen now can follow from what was seen before.
package tcpstate
