package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/seed16c515c6/timewait/internal/sockopt"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"golang.org/x/sys/unix"
)

func readTCPInfo(fd uintptr, t *TCPInfo) error {
	var b [512]byte // newer kernels fill in more than is known here
	n, err := sockopt.Get(fd, unix.IPPROTO_TCP, unix.TCP_INFO, b[:])
	switch {
	// ENOPROTOOPT is a UDP socket's answer, EOPNOTSUPP that of other families.
	case errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("not a TCP socket (or MPTCP, before Linux 5.16): %w: %w", errors.ErrUnsupported, err)
	case err != nil:
		return err
	}
	return t.UnmarshalBinary(b[:n])
}

func readID(fd uintptr) (ID, error) {
	s := int(fd)
	local, err := unix.Getsockname(s)
	if err != nil {
		return ID{}, os.NewSyscallError("getsockname", err)
	}
	var id ID
	switch local.(type) {
	case *unix.SockaddrInet4:
		id.Family = IPv4
	case *unix.SockaddrInet6:
		id.Family = IPv6
	default:
		return ID{}, fmt.Errorf("a socket that is neither IPv4 nor IPv6: %w", errors.ErrUnsupported)
	}
	id.Local = addrPort(local)
	remote, err := unix.Getpeername(s)
	switch {
	case err == nil:
		id.Remote = addrPort(remote)
	case !errors.Is(err, unix.ENOTCONN):
		return ID{}, os.NewSyscallError("getpeername", err)
	case id.Family == IPv4: // no peer: as in the row of a dump
		id.Remote = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	default:
		id.Remote = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	protocol, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return ID{}, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	id.Protocol = Protocol(protocol)
	device, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err != nil {
		return ID{}, os.NewSyscallError("getsockopt SO_BINDTOIFINDEX", err)
	}
	id.Interface = uint32(device)
	if id.Cookie, err = unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return ID{}, os.NewSyscallError("getsockopt SO_COOKIE", err)
	}
	if id.Protocol == MPTCP {
		id.Token = mptcpToken(fd)
	}
	return id, nil
}

// mptcpToken returns the token of an MPTCP socket, and 0 where the kernel does not
// tell: before Linux 5.16, and of a socket that has fallen back to TCP.
func mptcpToken(fd uintptr) uint32 {
	const solMPTCP, mptcpInfo = 284, 1
	var b [uapi.SizeofMPTCPInfo]byte
	n, err := sockopt.Get(fd, solMPTCP, mptcpInfo, b[:])
	if err != nil {
		return 0
	}
	var info MPTCPInfo
	info.decode(b[:n])
	return info.Token
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		// As in a dump: IPv4-mapped addresses stay, and there is no zone.
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}
