// Package sysctl reads the kernel settings that decide how long TCP sockets
// stay in which state, each with its type, its unit and what it really does. It
// reads only: nothing here writes a setting.
//
//	timeout, err := sysctl.TCPFinTimeout.Get() // a time.Duration
//
// A setting is a [Key], one variable each. [Key.Info] tells about it, [Keys]
// lists them, [Lookup] finds one by the name that sysctl(8) uses.
// [Key.DefaultFS] is what the kernel would have, and [Key.TrapFS] knows the values
// that do other than they seem to.
//
// # What is not here
//
// The length of TIME_WAIT is a constant of the kernel, 60 seconds, and no
// setting changes it. The one that is most often taken for it,
// net.ipv4.tcp_fin_timeout, is about another state: see [TCPFinTimeout].
//
// # Network namespaces
//
// /proc/sys/net shows the network namespace of the thread that opens a file in
// it, and most settings there are per namespace; a new one starts with the
// kernel's defaults, not with the values of its parent. [Key.Get] answers for
// the calling thread, which only means something if the goroutine is locked to
// it (runtime.LockOSThread) or if all threads of the process are in one
// namespace. [InNamespace] answers for the namespace of a descriptor, from any
// thread.
//
// # Errors
//
// Every error names the key. What went wrong is told with errors.Is and
// errors.As:
//
//   - [fs.ErrNotExist]: the running kernel does not have this key, because it
//     is older or newer, was built without it or has its module not loaded, or
//     because the key exists only in the initial network namespace;
//   - [ErrNoProcSys]: there is no /proc/sys/net at all, which says nothing
//     about the kernel. It is not an fs.ErrNotExist;
//   - [fs.ErrPermission]: the file is there and may not be read;
//   - [*ParseError]: the file does not hold what the type of the key expects;
//   - [errors.ErrUnsupported]: Get on a system other than Linux. GetFS works
//     anywhere.
package sysctl
