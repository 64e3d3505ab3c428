// Package nlsock is the NETLINK_SOCK_DIAG socket under a sockdiag.Client: whole
// datagrams in and out of buffers that the caller owns, through the runtime's
// poller, without an allocation. It knows nothing of what is in them.
package nlsock
