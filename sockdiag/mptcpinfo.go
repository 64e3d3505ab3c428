package sockdiag

import (
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// MPTCPInfo is what an MPTCP connection tells of itself: struct mptcp_info, as
// getsockopt(MPTCP_INFO) gives it too. It is about the connection as a whole. What
// TCP knows of each path is on the subflows, which are TCP sockets: those whose
// MPTCPSubflow.TokenLocal is Token. A listener has zeros nearly everywhere.
//
// The structure grows with the kernel: Sent says which of the younger fields came.
// The two EndpMax that are younger still took the place of bytes that were sent
// before, as 0, and so cannot be told from none.
type MPTCPInfo struct {
	Subflows         uint8 // subflows besides the first
	AddAddrSignal    uint8 // addresses that were announced to the peer
	AddAddrAccepted  uint8 // addresses of the peer that were taken up
	SubflowsMax      uint8 // limit of Subflows; 0 where a program manages the paths
	AddAddrSignalMax uint8 // endpoints there are to announce; 0 as above

	// AddAddrAcceptedMax is the limit of AddAddrAccepted; 0 as with SubflowsMax.
	AddAddrAcceptedMax uint8

	Flags    MPTCPFlags // whether it still is MPTCP
	Token    uint32     // names the connection on this machine
	WriteSeq uint64     // data sequence number of the next byte that is written
	SndUna   uint64     // data sequence number of the first byte not acknowledged
	RcvNxt   uint64     // data sequence number of the next byte expected

	LocalAddrUsed uint8 // local addresses that subflows were made from; MPTCPHasLocalAddr
	LocalAddrMax  uint8 // endpoints there are to make them from; MPTCPHasLocalAddr
	CsumEnabled   bool  // data is checksummed; Linux 5.14

	Retransmits   uint32 // timeouts since the peer last acknowledged data; MPTCPHasTraffic
	BytesRetrans  uint64 // bytes sent again, on the same or another subflow; MPTCPHasTraffic
	BytesSent     uint64 // bytes sent, without those sent again; MPTCPHasTraffic
	BytesReceived uint64 // bytes received in order; MPTCPHasTraffic
	BytesAcked    uint64 // bytes that the peer has acknowledged; MPTCPHasTraffic

	SubflowsTotal   uint8 // subflows with the first; MPTCPHasSubflowsTotal
	EndpLaminarMax  uint8 // endpoints of kind laminar; Linux 6.18
	EndpFullmeshMax uint8 // endpoints of kind fullmesh; Linux 6.19

	LastDataSent time.Duration // since data was last sent, in milliseconds; MPTCPHasLast
	LastDataRecv time.Duration // since data was last received, likewise; MPTCPHasLast
	LastAckRecv  time.Duration // since data was last acknowledged, likewise; MPTCPHasLast

	Sent MPTCPFields // which of the fields the kernel has
}

// Has reports whether the kernel sent all of f.
func (i *MPTCPInfo) Has(f MPTCPFields) bool { return i.Sent&f == f }

// MPTCPFields says which fields of an MPTCPInfo the kernel sent, besides those that
// it always had. The others are zero.
type MPTCPFields uint8

// The fields, by the kernel that they came with.
const (
	MPTCPHasLocalAddr     MPTCPFields = 1 << 0 // LocalAddrUsed, LocalAddrMax: Linux 5.12
	MPTCPHasTraffic       MPTCPFields = 1 << 1 // Retransmits, BytesRetrans, BytesSent, BytesReceived, BytesAcked: Linux 6.5
	MPTCPHasSubflowsTotal MPTCPFields = 1 << 2 // SubflowsTotal: Linux 6.8
	MPTCPHasLast          MPTCPFields = 1 << 3 // LastDataSent, LastDataRecv, LastAckRecv: Linux 6.10
)

// String lists the fields, "LocalAddr|Traffic"; "none" for the empty set.
func (f MPTCPFields) String() string { return string(f.append(nil)) }

func (f MPTCPFields) append(b []byte) []byte {
	return appendSet(b, f, "MPTCPFields", "LocalAddr", "Traffic", "SubflowsTotal", "Last")
}

// MPTCPFlags is the flags of an MPTCP connection (MPTCP_INFO_FLAG_*).
type MPTCPFlags uint32

// The flags. Kernels may send others.
const (
	MPTCPFallback  MPTCPFlags = 1 << 0 // it is plain TCP: the peer or the path lacks MPTCP
	MPTCPRemoteKey MPTCPFlags = 1 << 1 // the peer's key has come
)

// String lists the flags, "Fallback|RemoteKey"; "none" for the empty set.
func (f MPTCPFlags) String() string { return string(f.append(nil)) }

func (f MPTCPFlags) append(b []byte) []byte {
	return appendSet(b, f, "MPTCPFlags", "Fallback", "RemoteKey")
}

// Lengths of struct mptcp_info, by what it ends with. It is padded to 64 bits, so
// that a length and not an offset tells what there is: four bytes of padding were
// where retransmits is now.
const (
	sizeofMPTCPLocalAddr     = 48
	sizeofMPTCPTraffic       = 80
	sizeofMPTCPSubflowsTotal = 88
	sizeofMPTCPLast          = uapi.SizeofMPTCPInfo
)

// decode takes a structure of any length: what an older kernel did not send is
// zero.
func (i *MPTCPInfo) decode(b []byte) {
	var w [uapi.SizeofMPTCPInfo]byte
	n := copy(w[:], b)
	*i = MPTCPInfo{
		Subflows: w[0], AddAddrSignal: w[1], AddAddrAccepted: w[2],
		SubflowsMax: w[3], AddAddrSignalMax: w[4], AddAddrAcceptedMax: w[5],
		Flags: MPTCPFlags(ne.Uint32(w[8:])), Token: ne.Uint32(w[12:]),
		WriteSeq: ne.Uint64(w[16:]), SndUna: ne.Uint64(w[24:]), RcvNxt: ne.Uint64(w[32:]),
	}
	if n >= sizeofMPTCPLocalAddr {
		i.Sent |= MPTCPHasLocalAddr
		i.LocalAddrUsed, i.LocalAddrMax, i.CsumEnabled = w[40], w[41], w[42] != 0
	}
	if n >= sizeofMPTCPTraffic {
		i.Sent |= MPTCPHasTraffic
		i.Retransmits, i.BytesRetrans, i.BytesSent = ne.Uint32(w[44:]), ne.Uint64(w[48:]), ne.Uint64(w[56:])
		i.BytesReceived, i.BytesAcked = ne.Uint64(w[64:]), ne.Uint64(w[72:])
	}
	if n >= sizeofMPTCPSubflowsTotal {
		i.Sent |= MPTCPHasSubflowsTotal
		i.SubflowsTotal, i.EndpLaminarMax, i.EndpFullmeshMax = w[80], w[81], w[82]
	}
	if n >= sizeofMPTCPLast {
		i.Sent |= MPTCPHasLast
		i.LastDataSent, i.LastDataRecv, i.LastAckRecv = millis(ne.Uint32(w[84:])), millis(ne.Uint32(w[88:])), millis(ne.Uint32(w[92:]))
	}
}
