// Package uapi holds the numbers of the kernel's netlink and inet_diag
// interface: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h. They are
// written out, not taken from x/sys/unix, because that lacks most of them and
// because decoding a recorded reply must work on every operating system.
package uapi

// Netlink message types and flags.
const (
	NLMsgNoop    = 1
	NLMsgError   = 2
	NLMsgDone    = 3
	NLMsgOverrun = 4

	NLMFRequest  = 0x1
	NLMFMulti    = 0x2
	NLMFAck      = 0x4
	NLMFDumpIntr = 0x10
	NLMFDump     = 0x300

	SizeofNLMsgHdr = 16
	SizeofNLAttr   = 4
	NLATypeMask    = 0x3fff // the two high bits say nested and network order
)

// Requests of NETLINK_SOCK_DIAG. The older TCPDIAG_GETSOCK knows no family and
// so is the one dump that returns IPv4 and IPv6 from a single walk.
const (
	TCPDiagGetSock   = 18
	SockDiagByFamily = 20
	SockDestroy      = 21

	SizeofInetDiagReq   = 60 // of TCPDIAG_GETSOCK
	SizeofInetDiagReqV2 = 56 // of SOCK_DIAG_BY_FAMILY
	SizeofInetDiagMsg   = 72
)

// Multicast groups (enum sknetlink_groups). The IPv6 ones follow in the same
// order.
const (
	SKNLGrpInetTCPDestroy  = 1
	SKNLGrpInetUDPDestroy  = 2
	SKNLGrpInet6TCPDestroy = 3
)

// Types of the attributes behind a request (INET_DIAG_REQ_*).
const (
	InetDiagReqBytecode      = 1
	InetDiagReqSKBPFStorages = 2
	InetDiagReqProtocol      = 3
)

// Address families.
const (
	AFInet  = 2
	AFInet6 = 10
)

// Types of the attributes behind an inet_diag_msg (INET_DIAG_*).
const (
	InetDiagMemInfo   = 1
	InetDiagInfo      = 2
	InetDiagVegasInfo = 3
	InetDiagCong      = 4
	InetDiagTOS       = 5
	InetDiagTClass    = 6
	InetDiagSKMemInfo = 7
	InetDiagShutdown  = 8
	InetDiagDCTCPInfo = 9
	InetDiagProtocol  = 10
	InetDiagSKV6Only  = 11
	InetDiagLocals    = 12
	InetDiagPeers     = 13
	InetDiagPad       = 14 // empty: aligns what follows
	InetDiagMark      = 15
	InetDiagBBRInfo   = 16
	InetDiagClassID   = 17
	InetDiagMD5Sig    = 18
	InetDiagULPInfo   = 19

	InetDiagSKBPFStorages = 20
	InetDiagCgroupID      = 21
	InetDiagSockOpt       = 22
)

// Types of the attributes within INET_DIAG_SK_BPF_STORAGES, and within each of
// those.
const (
	SKDiagBPFStorage = 1

	SKDiagBPFStorageMapID    = 2
	SKDiagBPFStorageMapValue = 3
)

// Types of the attributes within INET_DIAG_ULP_INFO, and within those.
const (
	ULPInfoName  = 1
	ULPInfoTLS   = 2
	ULPInfoMPTCP = 3

	TLSInfoVersion         = 1
	TLSInfoCipher          = 2
	TLSInfoTXConf          = 3
	TLSInfoRXConf          = 4
	TLSInfoZCROTX          = 5
	TLSInfoRXNoPad         = 6
	TLSInfoTXMaxPayloadLen = 7

	SubflowTokenRem   = 1
	SubflowTokenLoc   = 2
	SubflowRelWrite   = 3
	SubflowMapSeq     = 4
	SubflowMapSFSeq   = 5
	SubflowSSNOffset  = 6
	SubflowMapDataLen = 7
	SubflowFlags      = 8
	SubflowIDRem      = 9
	SubflowIDLoc      = 10
)

// SizeofMD5Sig is the length of one key in INET_DIAG_MD5SIG.
const SizeofMD5Sig = 100

// Lengths of the structures in INET_DIAG_INFO of other protocols than TCP, and of
// an address in INET_DIAG_LOCALS and INET_DIAG_PEERS.
const (
	SizeofMPTCPInfo       = 96
	SizeofSCTPInfo        = 368
	SizeofSockaddrStorage = 128
)

// States of an SCTP association (enum sctp_state of net/sctp/constants.h) and the
// one timer that its idiag_timer can name (enum sctp_event_timeout). They are not
// TCP's.
const (
	SCTPStateClosed           = 0
	SCTPStateCookieWait       = 1
	SCTPStateCookieEchoed     = 2
	SCTPStateEstablished      = 3
	SCTPStateShutdownPending  = 4
	SCTPStateShutdownSent     = 5
	SCTPStateShutdownReceived = 6
	SCTPStateShutdownAckSent  = 7

	SCTPTimeoutT3RTX = 4
)

// States of an SCTP endpoint (enum sctp_sock_state), which have TCP's numbers.
const (
	SCTPSSEstablished  = 1
	SCTPSSEstablishing = 2
	SCTPSSClosed       = 7
	SCTPSSClosing      = 8
	SCTPSSListening    = 10
)

// Timers of an inet_diag_msg (idiag_timer).
const (
	TimerOff       = 0
	TimerOn        = 1
	TimerKeepalive = 2
	TimerTimeWait  = 3
	TimerProbe0    = 4
	TimerDelACK    = 5
)
