package sockdiag

import (
	"errors"
	"syscall"
)

// TCPInfoOf returns the tcp_info of the program's own connection or listener, a
// *net.TCPConn for one. It needs neither a Client nor a privilege: the kernel
// answers getsockopt(TCP_INFO) with the same structure as a dump, and without a
// walk. For an MPTCP connection (what a net.Listener accepts since Go 1.24, where
// the peer speaks it) it is that of the first subflow, since Linux 5.16.
//
// A connection that is no TCP, and a foreign operating system, are an *OpError
// that matches errors.ErrUnsupported; a closed one matches net.ErrClosed.
func TCPInfoOf(c syscall.Conn) (TCPInfo, error) {
	var t TCPInfo
	err := control(c, func(fd uintptr) error { return readTCPInfo(fd, &t) })
	if err != nil {
		return TCPInfo{}, &OpError{Op: "tcp_info", Err: err}
	}
	return t, nil
}

// IDOf returns the ID of the program's own socket, with its cookie, of any
// protocol over IPv4 or IPv6: what Lookup takes, and what a row of a dump of that
// Protocol has. What net.Listen returns is an MPTCP socket where the kernel knows
// that, unless ListenConfig.SetMultipathTCP(false) was called; its TCP subflows are
// rows with cookies of their own, among which a listener's has the same Local. A
// socket that is still connecting has no Remote here, and is not to be looked up.
//
// Errors are as TCPInfoOf's.
func IDOf(c syscall.Conn) (ID, error) {
	var id ID
	err := control(c, func(fd uintptr) (err error) {
		id, err = readID(fd)
		return err
	})
	if err != nil {
		return ID{}, &OpError{Op: "id", Err: err}
	}
	return id, nil
}

// control calls f with the descriptor of c.
func control(c syscall.Conn, f func(fd uintptr) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	return errors.Join(rc.Control(func(fd uintptr) { ferr = f(fd) }), ferr)
}
