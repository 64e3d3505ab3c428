package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrInterrupted ends a dump during which the kernel said that its tables
// changed in a way that the dump may have missed (NLM_F_DUMP_INTR). The rows
// that came before it are good; ask again for the rest. The INET_DIAG dumps of
// the kernels known so far (5.10 to 7.3) never set that flag, though they are no
// snapshots either.
var ErrInterrupted = errors.New("the kernel interrupted the dump: sockets may be missing")

// OpError is the error of every method of Client, and of Dial, TCPInfoOf and
// IDOf: what was being done and why it failed. Look at the cause with errors.Is
// and errors.As:
//
//   - net.ErrClosed: the Client is closed.
//   - context.Canceled, context.DeadlineExceeded: the call's context ended.
//   - os.ErrNotExist: there is no such socket (Lookup, Destroy).
//   - errors.ErrUnsupported: not Linux, a kernel without sock_diag or without its
//     handler for the protocol, or a protocol that the library does not know.
//   - fs.ErrPermission: the kernel asks for a privilege.
//   - fs.ErrInvalid: the arguments cannot be right on any kernel.
//   - ErrInterrupted, *DecodeError: see there.
//   - syscall.EMSGSIZE: a reply longer than the receive buffer, in the middle of a
//     dump or longer than a buffer may grow.
//   - syscall.Errno: what the kernel answered otherwise.
type OpError struct {
	Op       string   // "dial", "dump", "count", "lookup", "destroy", "watch", "close", "namespace", "tcp_info", "id"
	Family   Family   // of the request; zero: both, or none
	Protocol Protocol // of the request; zero: none
	Err      error    // never nil
}

func (e *OpError) Error() string {
	s := "sockdiag: " + e.Op
	if e.Protocol != 0 {
		s += " " + e.Protocol.String()
	}
	if e.Family != 0 {
		s += " " + e.Family.String()
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether the context's deadline was the cause.
func (e *OpError) Timeout() bool {
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, os.ErrDeadlineExceeded)
}

// DecodeError says that bytes are too few to have come from a kernel: a header or
// an attribute is shorter than it must be. What is longer or unknown is never an
// error.
type DecodeError struct {
	What string // the structure or attribute, as the kernel names it
	Len  int    // bytes that were there
	Want int    // bytes that it takes at least
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("%s: %d bytes, need %d", e.What, e.Len, e.Want)
}
