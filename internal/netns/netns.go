// Package netns runs code inside a network namespace.
//
// A network namespace belongs to the OS thread, not to the process, and Go moves
// goroutines between threads. So whatever must happen in one namespace (making
// a socket, opening a file below /proc/sys/net) happens here, on a thread that
// is held still.
package netns
