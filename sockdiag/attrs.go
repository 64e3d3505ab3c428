package sockdiag

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// Attrs is a set of the attributes that can follow a socket's header. In a Query
// it says what to ask for; in a Socket what the kernel sent. Bit n is the
// kernel's attribute type n (INET_DIAG_*), so that the Attrs of a Socket tells of
// types that this library has no name for, too.
//
// Mini-sockets (TIME_WAIT, an orphan's FIN_WAIT2, SYN_RECV request sockets) have
// none of them but AttrMark.
type Attrs uint64

const (
	// AttrMemInfo asks for Socket.MemInfo.
	AttrMemInfo Attrs = 1 << uapi.InetDiagMemInfo

	// AttrTCPInfo asks for Socket.TCPInfo. Bound-only sockets have none.
	//
	// The kernel takes each socket's lock for it: the dump waits while another
	// process keeps the kernel at work on one, and cannot be interrupted there.
	// And to callers with CAP_NET_ADMIN the kernel then sends TCP-MD5 keys as
	// well. A listener with more than about 300 of them does not fit into any
	// batch, and ends the dump as if it were the last socket; without AttrTCPInfo
	// it does not.
	AttrTCPInfo Attrs = 1 << uapi.InetDiagInfo

	// AttrCongestion asks for Socket.Congestion.
	AttrCongestion Attrs = 1 << uapi.InetDiagCong

	// AttrTOS asks for Socket.TOS.
	AttrTOS Attrs = 1 << uapi.InetDiagTOS

	// AttrTrafficClass asks for Socket.TrafficClass, of IPv6 sockets.
	AttrTrafficClass Attrs = 1 << uapi.InetDiagTClass

	// AttrSocketMemory asks for Socket.SocketMemory.
	AttrSocketMemory Attrs = 1 << uapi.InetDiagSKMemInfo

	// AttrShutdown is Socket.Shutdown, which full sockets always have.
	AttrShutdown Attrs = 1 << uapi.InetDiagShutdown

	// AttrMark is Socket.Mark. The kernel sends it unasked to callers with
	// CAP_NET_ADMIN over the namespace, and to no others. Mini-sockets have it
	// since Linux 6.1 at the latest, and not in 5.10.
	AttrMark Attrs = 1 << uapi.InetDiagMark

	// AttrClassID asks for Socket.ClassID. It shares its request bit with
	// AttrTrafficClass: asking for either brings both, where there are both.
	AttrClassID Attrs = 1 << uapi.InetDiagClassID

	// AttrCgroupID is Socket.CgroupID, which full sockets always have since Linux
	// 5.8 where the kernel knows control groups.
	AttrCgroupID Attrs = 1 << uapi.InetDiagCgroupID
)

// allAttrs is all that have a name.
const allAttrs = AttrMemInfo | AttrTCPInfo | AttrCongestion | AttrTOS | AttrTrafficClass |
	AttrSocketMemory | AttrShutdown | AttrMark | AttrClassID | AttrCgroupID

var attrNames = map[Attrs]string{
	AttrMemInfo: "MemInfo", AttrTCPInfo: "TCPInfo", AttrCongestion: "Congestion", AttrTOS: "TOS",
	AttrTrafficClass: "TrafficClass", AttrSocketMemory: "SocketMemory", AttrShutdown: "Shutdown",
	AttrMark: "Mark", AttrClassID: "ClassID", AttrCgroupID: "CgroupID",
}

// Has reports whether a has all of b.
func (a Attrs) Has(b Attrs) bool { return a&b == b }

// String lists the attributes, "MemInfo|TCPInfo"; those without a name by number,
// "Attr(22)".
func (a Attrs) String() string {
	if a == 0 {
		return "none"
	}
	var s []string
	for ; a != 0; a &= a - 1 {
		n := bits.TrailingZeros64(uint64(a))
		name, ok := attrNames[1<<n]
		if !ok {
			name = "Attr(" + strconv.Itoa(n) + ")"
		}
		s = append(s, name)
	}
	return strings.Join(s, "|")
}

// extension is idiag_ext, where bit n-1 asks for attribute n of the first eight.
// What is not among them comes unasked, or along with one of them.
func (a Attrs) extension() uint8 {
	if a&AttrClassID != 0 {
		a |= AttrTrafficClass
	}
	return uint8(a >> 1)
}
