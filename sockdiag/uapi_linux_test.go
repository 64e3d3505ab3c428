package sockdiag

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/btf"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// diagTypes are the kernel's types, and those of each part of sock_diag that is a
// module. A kernel before 5.11 does not show the types of its modules.
func diagTypes(t *testing.T) (specs []*btf.Spec) {
	t.Helper()
	specs = append(specs, kernelTypes(t))
	for _, module := range []string{"inet_diag", "tcp_diag", "tls", "sctp"} {
		spec, err := btf.LoadModule(module)
		switch {
		case err == nil:
			specs = append(specs, spec)
		case !errors.Is(err, fs.ErrNotExist):
			t.Fatal(err)
		}
	}
	return specs
}

// lookUp returns the type of that name from the first that has it.
func lookUp[T any](t *testing.T, specs []*btf.Spec, get func(*btf.Spec, string) (T, error), name string) (T, error) {
	t.Helper()
	var found T
	err := btf.ErrNotFound
	for i := 0; i < len(specs) && errors.Is(err, btf.ErrNotFound); i++ {
		found, err = get(specs[i], name)
	}
	return found, err
}

// optional is the part of the kernel that the enumerator is of, if a kernel may be
// built without it. That is nothing which the machine lacks, so that TIMEWAIT_REQUIRE
// has no say in it. The kernels that internal/kernels boots have them all.
func optional(enumerator string) string {
	for _, part := range []string{"MPTCP", "SCTP", "TLS"} {
		if strings.HasPrefix(enumerator, part+"_") {
			return part
		}
	}
	return ""
}

// The numbers of the wire are those of the running kernel.
func TestKernelEnumerators(t *testing.T) {
	specs := diagTypes(t)
	// The state of bound-only sockets, the newest timer and some of TLS are not in
	// every kernel.
	before := func(major, minor int) bool { return !mustRunningRelease(t).AtLeast(major, minor) }
	young := map[string]bool{"TCP_BOUND_INACTIVE": before(6, 8), "IDIAG_TIMER_DELACK": before(7, 1),
		"TLS_INFO_ZC_RO_TX": before(5, 19), "TLS_INFO_RX_NO_PAD": before(6, 0), "TLS_INFO_TX_MAX_PAYLOAD_LEN": before(6, 19)}
	for name, ours := range map[string]int64{
		"TCP_ESTABLISHED": int64(tcpstate.Established), "TCP_SYN_SENT": int64(tcpstate.SynSent), "TCP_SYN_RECV": int64(tcpstate.SynRecv),
		"TCP_FIN_WAIT1": int64(tcpstate.FinWait1), "TCP_FIN_WAIT2": int64(tcpstate.FinWait2), "TCP_TIME_WAIT": int64(tcpstate.TimeWait),
		"TCP_CLOSE": int64(tcpstate.Closed), "TCP_CLOSE_WAIT": int64(tcpstate.CloseWait), "TCP_LAST_ACK": int64(tcpstate.LastAck),
		"TCP_LISTEN": int64(tcpstate.Listen), "TCP_CLOSING": int64(tcpstate.Closing), "TCP_NEW_SYN_RECV": int64(tcpstate.NewSynRecv),
		"TCP_BOUND_INACTIVE": int64(tcpstate.BoundInactive),

		"INET_DIAG_MEMINFO": uapi.InetDiagMemInfo, "INET_DIAG_INFO": uapi.InetDiagInfo, "INET_DIAG_CONG": uapi.InetDiagCong,
		"INET_DIAG_TOS": uapi.InetDiagTOS, "INET_DIAG_TCLASS": uapi.InetDiagTClass, "INET_DIAG_SKMEMINFO": uapi.InetDiagSKMemInfo,
		"INET_DIAG_SHUTDOWN": uapi.InetDiagShutdown, "INET_DIAG_MARK": uapi.InetDiagMark, "INET_DIAG_CLASS_ID": uapi.InetDiagClassID,
		"INET_DIAG_CGROUP_ID": uapi.InetDiagCgroupID, "INET_DIAG_VEGASINFO": uapi.InetDiagVegasInfo,
		"INET_DIAG_DCTCPINFO": uapi.InetDiagDCTCPInfo, "INET_DIAG_SKV6ONLY": uapi.InetDiagSKV6Only, "INET_DIAG_PAD": uapi.InetDiagPad,
		"INET_DIAG_BBRINFO": uapi.InetDiagBBRInfo, "INET_DIAG_MD5SIG": uapi.InetDiagMD5Sig, "INET_DIAG_ULP_INFO": uapi.InetDiagULPInfo,
		"INET_DIAG_SOCKOPT": uapi.InetDiagSockOpt, "INET_DIAG_PROTOCOL": uapi.InetDiagProtocol, "INET_DIAG_LOCALS": uapi.InetDiagLocals,
		"INET_DIAG_PEERS": uapi.InetDiagPeers, "INET_DIAG_SK_BPF_STORAGES": uapi.InetDiagSKBPFStorages,

		"INET_ULP_INFO_NAME": uapi.ULPInfoName, "INET_ULP_INFO_TLS": uapi.ULPInfoTLS, "INET_ULP_INFO_MPTCP": uapi.ULPInfoMPTCP,
		"TLS_INFO_VERSION": uapi.TLSInfoVersion, "TLS_INFO_CIPHER": uapi.TLSInfoCipher, "TLS_INFO_TXCONF": uapi.TLSInfoTXConf,
		"TLS_INFO_RXCONF": uapi.TLSInfoRXConf, "TLS_INFO_ZC_RO_TX": uapi.TLSInfoZCROTX, "TLS_INFO_RX_NO_PAD": uapi.TLSInfoRXNoPad,
		"TLS_INFO_TX_MAX_PAYLOAD_LEN":  uapi.TLSInfoTXMaxPayloadLen,
		"MPTCP_SUBFLOW_ATTR_TOKEN_REM": uapi.SubflowTokenRem, "MPTCP_SUBFLOW_ATTR_TOKEN_LOC": uapi.SubflowTokenLoc,
		"MPTCP_SUBFLOW_ATTR_RELWRITE_SEQ": uapi.SubflowRelWrite, "MPTCP_SUBFLOW_ATTR_MAP_SEQ": uapi.SubflowMapSeq,
		"MPTCP_SUBFLOW_ATTR_MAP_SFSEQ": uapi.SubflowMapSFSeq, "MPTCP_SUBFLOW_ATTR_SSN_OFFSET": uapi.SubflowSSNOffset,
		"MPTCP_SUBFLOW_ATTR_MAP_DATALEN": uapi.SubflowMapDataLen, "MPTCP_SUBFLOW_ATTR_FLAGS": uapi.SubflowFlags,
		"MPTCP_SUBFLOW_ATTR_ID_REM": uapi.SubflowIDRem, "MPTCP_SUBFLOW_ATTR_ID_LOC": uapi.SubflowIDLoc,
		"SK_DIAG_BPF_STORAGE": uapi.SKDiagBPFStorage, "SK_DIAG_BPF_STORAGE_MAP_ID": uapi.SKDiagBPFStorageMapID,
		"SK_DIAG_BPF_STORAGE_MAP_VALUE": uapi.SKDiagBPFStorageMapValue,

		"INET_DIAG_REQ_BYTECODE": uapi.InetDiagReqBytecode, "INET_DIAG_REQ_SK_BPF_STORAGES": uapi.InetDiagReqSKBPFStorages,
		"INET_DIAG_REQ_PROTOCOL": uapi.InetDiagReqProtocol,

		"SKNLGRP_INET_TCP_DESTROY": uapi.SKNLGrpInetTCPDestroy, "SKNLGRP_INET_UDP_DESTROY": uapi.SKNLGrpInetUDPDestroy,
		"SKNLGRP_INET6_TCP_DESTROY": uapi.SKNLGrpInet6TCPDestroy,
		// The IPv6 groups follow in the same order.
		"SKNLGRP_INET6_UDP_DESTROY": uapi.SKNLGrpInetUDPDestroy + uapi.SKNLGrpInet6TCPDestroy - uapi.SKNLGrpInetTCPDestroy,

		// Those of an SCTPState are one more.
		"SCTP_STATE_CLOSED": int64(SCTPClosed) - 1, "SCTP_STATE_COOKIE_WAIT": int64(SCTPCookieWait) - 1,
		"SCTP_STATE_COOKIE_ECHOED": int64(SCTPCookieEchoed) - 1, "SCTP_STATE_ESTABLISHED": int64(SCTPEstablished) - 1,
		"SCTP_STATE_SHUTDOWN_PENDING": int64(SCTPShutdownPending) - 1, "SCTP_STATE_SHUTDOWN_SENT": int64(SCTPShutdownSent) - 1,
		"SCTP_STATE_SHUTDOWN_RECEIVED": int64(SCTPShutdownReceived) - 1, "SCTP_STATE_SHUTDOWN_ACK_SENT": int64(SCTPShutdownAckSent) - 1,
		"SCTP_SS_CLOSED": int64(SCTPEndpointClosed), "SCTP_SS_LISTENING": int64(SCTPEndpointListening),
		"SCTP_SS_ESTABLISHING": int64(SCTPEndpointEstablishing), "SCTP_SS_ESTABLISHED": int64(SCTPEndpointEstablished),
		"SCTP_SS_CLOSING": int64(SCTPEndpointClosing), "SCTP_EVENT_TIMEOUT_T3_RTX": uapi.SCTPTimeoutT3RTX,
		"SCTP_INACTIVE": int64(SCTPPathInactive), "SCTP_PF": int64(SCTPPathPotentiallyFailed),
		"SCTP_ACTIVE": int64(SCTPPathActive), "SCTP_UNCONFIRMED": int64(SCTPPathUnconfirmed),

		"INET_DIAG_BC_NOP": uapi.BytecodeNop, "INET_DIAG_BC_JMP": uapi.BytecodeJmp,
		"INET_DIAG_BC_S_GE": uapi.BytecodeSGE, "INET_DIAG_BC_S_LE": uapi.BytecodeSLE, "INET_DIAG_BC_S_EQ": uapi.BytecodeSEq,
		"INET_DIAG_BC_D_GE": uapi.BytecodeDGE, "INET_DIAG_BC_D_LE": uapi.BytecodeDLE, "INET_DIAG_BC_D_EQ": uapi.BytecodeDEq,
		"INET_DIAG_BC_AUTO": uapi.BytecodeAuto, "INET_DIAG_BC_S_COND": uapi.BytecodeSCond, "INET_DIAG_BC_D_COND": uapi.BytecodeDCond,
		"INET_DIAG_BC_DEV_COND": uapi.BytecodeDevCond, "INET_DIAG_BC_MARK_COND": uapi.BytecodeMarkCond,
		"INET_DIAG_BC_CGROUP_COND": uapi.BytecodeCgroupCond,

		"IDIAG_TIMER_DELACK": uapi.TimerDelACK,
	} {
		t.Run(name, func(t *testing.T) {
			theirs, err := lookUp(t, specs, (*btf.Spec).Enumerator, name)
			switch {
			case errors.Is(err, btf.ErrNotFound) && young[name]:
			case errors.Is(err, btf.ErrNotFound) && optional(name) != "":
				t.Skipf("missing: %s in this kernel: %v", optional(name), err)
			case errors.Is(err, btf.ErrNotFound) && len(specs) == 1:
				nstest.Skip(t, "the BTF of modules, of Linux 5.11: %v", err)
			case err != nil:
				t.Error(err)
			case theirs != ours:
				t.Errorf("it is %d, here %d", theirs, ours)
			}
		})
	}
}

// The structures that requests and replies begin with have the members where
// appendDump and decode put and look for them.
func TestKernelStructures(t *testing.T) {
	specs := diagTypes(t)
	for name, want := range map[string]struct {
		size    uint32
		offsets map[string]uint32
	}{
		"inet_diag_req": {uapi.SizeofInetDiagReq, map[string]uint32{
			"idiag_family": 0, "idiag_ext": 3, "id": 4, "idiag_states": 52}},
		"inet_diag_req_v2": {uapi.SizeofInetDiagReqV2, map[string]uint32{
			"sdiag_family": 0, "sdiag_protocol": 1, "idiag_ext": 2, "idiag_states": 4, "id": 8}},
		"inet_diag_msg": {uapi.SizeofInetDiagMsg, map[string]uint32{
			"idiag_family": 0, "idiag_state": 1, "idiag_timer": 2, "idiag_retrans": 3, "id": 4, "idiag_expires": 52,
			"idiag_rqueue": 56, "idiag_wqueue": 60, "idiag_uid": 64, "idiag_inode": 68}},
		"inet_diag_sockid": {48, map[string]uint32{
			"idiag_sport": 0, "idiag_dport": 2, "idiag_src": 4, "idiag_dst": 20, "idiag_if": 36, "idiag_cookie": 40}},
		"inet_diag_meminfo": {16, map[string]uint32{"idiag_rmem": 0, "idiag_wmem": 4, "idiag_fmem": 8, "idiag_tmem": 12}},
		"nlmsghdr":          {uapi.SizeofNLMsgHdr, map[string]uint32{"nlmsg_len": 0, "nlmsg_type": 4, "nlmsg_flags": 6, "nlmsg_seq": 8, "nlmsg_pid": 12}},
		"tcpvegas_info":     {16, map[string]uint32{"tcpv_enabled": 0, "tcpv_rttcnt": 4, "tcpv_rtt": 8, "tcpv_minrtt": 12}},
		"tcp_dctcp_info":    {16, map[string]uint32{"dctcp_enabled": 0, "dctcp_ce_state": 2, "dctcp_alpha": 4, "dctcp_ab_ecn": 8, "dctcp_ab_tot": 12}},
		"tcp_bbr_info":      {20, map[string]uint32{"bbr_bw_lo": 0, "bbr_bw_hi": 4, "bbr_min_rtt": 8, "bbr_pacing_gain": 12, "bbr_cwnd_gain": 16}},
		"tcp_diag_md5sig":   {uapi.SizeofMD5Sig, map[string]uint32{"tcpm_family": 0, "tcpm_prefixlen": 1, "tcpm_keylen": 2, "tcpm_addr": 4, "tcpm_key": 20}},
		"nlattr":            {uapi.SizeofNLAttr, map[string]uint32{"nla_len": 0, "nla_type": 2}},
		"nlmsgerr":          {4 + uapi.SizeofNLMsgHdr, map[string]uint32{"error": 0, "msg": 4}},

		// Addresses of SCTP, each in a sockaddr_storage.
		"__kernel_sockaddr_storage": {uapi.SizeofSockaddrStorage, nil},
		"sockaddr_in":               {16, map[string]uint32{"sin_family": 0, "sin_port": 2, "sin_addr": 4}},
		"sockaddr_in6":              {28, map[string]uint32{"sin6_family": 0, "sin6_port": 2, "sin6_addr": 8}},

		"inet_diag_bc_op":    {uapi.SizeofBytecodeOp, map[string]uint32{"code": 0, "yes": 1, "no": 2}},
		"inet_diag_hostcond": {8, map[string]uint32{"family": 0, "prefix_len": 1, "port": 4, "addr": 8}},
		"inet_diag_markcond": {8, map[string]uint32{"mark": 0, "mask": 4}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := lookUp(t, specs, (*btf.Spec).Struct, name)
			if errors.Is(err, btf.ErrNotFound) && len(specs) == 1 {
				nstest.Skip(t, "the BTF of modules, of Linux 5.11: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Size != want.size {
				t.Errorf("it has %d bytes, here %d", s.Size, want.size)
			}
			for member, offset := range want.offsets {
				m, ok := s.Member(member)
				if !ok || m.Offset != offset*8 {
					t.Errorf("%s is at bit %d (%v), here at byte %d", member, m.Offset, ok, offset)
				}
			}
		})
	}
}

// What the kernel's headers define by macros has no BTF: x/sys has it from them.
func TestKernelMacros(t *testing.T) {
	for name, v := range map[string][2]int{
		"SOCK_DIAG_BY_FAMILY": {unix.SOCK_DIAG_BY_FAMILY, uapi.SockDiagByFamily}, "SOCK_DESTROY": {unix.SOCK_DESTROY, uapi.SockDestroy},
		"NLMSG_NOOP": {unix.NLMSG_NOOP, uapi.NLMsgNoop}, "NLMSG_ERROR": {unix.NLMSG_ERROR, uapi.NLMsgError},
		"NLMSG_DONE": {unix.NLMSG_DONE, uapi.NLMsgDone}, "NLMSG_OVERRUN": {unix.NLMSG_OVERRUN, uapi.NLMsgOverrun},
		"NLM_F_REQUEST": {unix.NLM_F_REQUEST, uapi.NLMFRequest}, "NLM_F_ACK": {unix.NLM_F_ACK, uapi.NLMFAck},
		"NLM_F_MULTI": {unix.NLM_F_MULTI, uapi.NLMFMulti}, "NLM_F_DUMP_INTR": {unix.NLM_F_DUMP_INTR, uapi.NLMFDumpIntr}, "NLM_F_DUMP": {unix.NLM_F_DUMP, uapi.NLMFDump},
		"NLA_F_NESTED | NLA_F_NET_BYTEORDER": {unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER, 0xffff &^ uapi.NLATypeMask},
		"AF_INET":                            {unix.AF_INET, uapi.AFInet}, "AF_INET6": {unix.AF_INET6, uapi.AFInet6},
		"IPPROTO_TCP": {unix.IPPROTO_TCP, int(TCP)}, "IPPROTO_UDP": {unix.IPPROTO_UDP, int(UDP)}, "IPPROTO_UDPLITE": {unix.IPPROTO_UDPLITE, int(UDPLite)},
		"IPPROTO_RAW": {unix.IPPROTO_RAW, int(Raw)}, "IPPROTO_SCTP": {unix.IPPROTO_SCTP, int(SCTP)}, "IPPROTO_MPTCP": {unix.IPPROTO_MPTCP, int(MPTCP)},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %#x, here %#x", name, v[0], v[1])
		}
	}
}

// The counters of SocketMemory are where the kernel puts them, and each has a field.
func TestKernelSocketMemory(t *testing.T) {
	spec := kernelTypes(t)
	for name, want := range map[string]SocketMemory{
		"SK_MEMINFO_RMEM_ALLOC": {RecvAlloc: 1}, "SK_MEMINFO_RCVBUF": {RecvBuffer: 1}, "SK_MEMINFO_WMEM_ALLOC": {SendAlloc: 1},
		"SK_MEMINFO_SNDBUF": {SendBuffer: 1}, "SK_MEMINFO_FWD_ALLOC": {Forward: 1}, "SK_MEMINFO_WMEM_QUEUED": {SendQueued: 1},
		"SK_MEMINFO_OPTMEM": {Options: 1}, "SK_MEMINFO_BACKLOG": {Backlog: 1}, "SK_MEMINFO_DROPS": {Drops: 1},
	} {
		at, err := spec.Enumerator(name)
		if err != nil {
			t.Error(err)
			continue
		}
		b := make([]byte, 64)
		ne.PutUint32(b[4*at:], 1)
		var got SocketMemory
		if err := got.decode(b); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// Every bit-field of the kernel's struct inet_diag_sockopt is the option of its name.
func TestKernelSocketOptions(t *testing.T) {
	specs := diagTypes(t)
	layout, err := lookUp(t, specs, (*btf.Spec).Struct, "inet_diag_sockopt")
	if errors.Is(err, btf.ErrNotFound) && len(specs) == 1 {
		nstest.Skip(t, "the BTF of modules, of Linux 5.11: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]SocketOptions{
		"recverr": SockOptRecvErr, "is_icsk": SockOptConnectionSocket, "freebind": SockOptFreebind, "hdrincl": SockOptHeaderIncluded,
		"mc_loop": SockOptMulticastLoop, "transparent": SockOptTransparent, "mc_all": SockOptMulticastAll, "nodefrag": SockOptNoDefrag,
		"bind_address_no_port": SockOptBindAddressNoPort, "recverr_rfc4884": SockOptRecvErrRFC4884, "defer_connect": SockOptDeferConnect,
	}
	for _, m := range layout.Members {
		if m.Name == "unused" {
			continue
		}
		want, ok := options[m.Name]
		if !ok {
			t.Logf("this kernel has an option that is not known here: %+v", m)
			continue
		}
		delete(options, m.Name)
		b := make([]byte, layout.Size)
		putMember(b, m, 1)
		var got SocketOptions
		if err := got.decode(b, cpu.IsBigEndian); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", m.Name, got, err, want)
		}
	}
	// Those since 5.10, which brought the attribute, are in every kernel that is run.
	delete(options, "recverr_rfc4884")
	for name := range options {
		t.Errorf("the kernel has no %s", name)
	}
}

// Every member of the kernel's struct mptcp_info ends up in its field and in no
// other, and those of newer kernels are known to be missing.
func TestKernelMPTCPInfo(t *testing.T) {
	layout, err := lookUp(t, diagTypes(t), (*btf.Spec).Struct, "mptcp_info")
	if errors.Is(err, btf.ErrNotFound) {
		t.Skipf("missing: MPTCP in this kernel: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	fields := map[string]struct {
		is1 MPTCPInfo
		of  MPTCPFields
	}{
		"mptcpi_subflows": {MPTCPInfo{Subflows: 1}, 0}, "mptcpi_add_addr_signal": {MPTCPInfo{AddAddrSignal: 1}, 0},
		"mptcpi_add_addr_accepted": {MPTCPInfo{AddAddrAccepted: 1}, 0}, "mptcpi_subflows_max": {MPTCPInfo{SubflowsMax: 1}, 0},
		"mptcpi_add_addr_signal_max":   {MPTCPInfo{AddAddrSignalMax: 1}, 0},
		"mptcpi_add_addr_accepted_max": {MPTCPInfo{AddAddrAcceptedMax: 1}, 0}, "mptcpi_flags": {MPTCPInfo{Flags: MPTCPFallback}, 0},
		"mptcpi_token": {MPTCPInfo{Token: 1}, 0}, "mptcpi_write_seq": {MPTCPInfo{WriteSeq: 1}, 0}, "mptcpi_snd_una": {MPTCPInfo{SndUna: 1}, 0},
		"mptcpi_rcv_nxt":         {MPTCPInfo{RcvNxt: 1}, 0},
		"mptcpi_local_addr_used": {MPTCPInfo{LocalAddrUsed: 1}, MPTCPHasLocalAddr}, "mptcpi_local_addr_max": {MPTCPInfo{LocalAddrMax: 1}, MPTCPHasLocalAddr},
		"mptcpi_csum_enabled":  {MPTCPInfo{CsumEnabled: true}, MPTCPHasLocalAddr},
		"mptcpi_retransmits":   {MPTCPInfo{Retransmits: 1}, MPTCPHasTraffic},
		"mptcpi_bytes_retrans": {MPTCPInfo{BytesRetrans: 1}, MPTCPHasTraffic}, "mptcpi_bytes_sent": {MPTCPInfo{BytesSent: 1}, MPTCPHasTraffic},
		"mptcpi_bytes_received": {MPTCPInfo{BytesReceived: 1}, MPTCPHasTraffic}, "mptcpi_bytes_acked": {MPTCPInfo{BytesAcked: 1}, MPTCPHasTraffic},
		"mptcpi_subflows_total":    {MPTCPInfo{SubflowsTotal: 1}, MPTCPHasSubflowsTotal},
		"mptcpi_endp_laminar_max":  {MPTCPInfo{EndpLaminarMax: 1}, MPTCPHasSubflowsTotal},
		"mptcpi_endp_fullmesh_max": {MPTCPInfo{EndpFullmeshMax: 1}, MPTCPHasSubflowsTotal},
		"mptcpi_last_data_sent":    {MPTCPInfo{LastDataSent: ms}, MPTCPHasLast}, "mptcpi_last_data_recv": {MPTCPInfo{LastDataRecv: ms}, MPTCPHasLast},
		"mptcpi_last_ack_recv": {MPTCPInfo{LastAckRecv: ms}, MPTCPHasLast},
	}
	var sent MPTCPFields
	eachMember(t, layout, uapi.SizeofMPTCPInfo, func(name string, b []byte, _ uint32) {
		want, known := fields[name]
		if !known {
			t.Errorf("%s is not known", name)
			return
		}
		sent |= want.of
		var got MPTCPInfo
		got.decode(b)
		if !got.Has(want.of) {
			t.Errorf("%s: sent %v, without %v", name, got.Sent, want.of)
		}
		got.Sent = 0
		if got != want.is1 {
			t.Errorf("%s: %+v", name, got)
		}
	})
	var all MPTCPInfo
	if all.decode(make([]byte, layout.Size)); all.Sent != sent {
		t.Errorf("%d bytes: sent %v, the kernel has %v", layout.Size, all.Sent, sent)
	}
}

// Every member of the kernel's struct sctp_info ends up in its field and in no other.
func TestKernelSCTPInfo(t *testing.T) {
	layout, err := lookUp(t, diagTypes(t), (*btf.Spec).Struct, "sctp_info")
	if errors.Is(err, btf.ErrNotFound) {
		t.Skipf("missing: SCTP in this kernel: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if layout.Size < uapi.SizeofSCTPInfo {
		t.Errorf("it has %d bytes, here %d", layout.Size, uapi.SizeofSCTPInfo)
	}
	path := func(p SCTPPath) SCTPInfo { return SCTPInfo{Primary: p} }
	option := func(o SCTPOptions) SCTPInfo { return SCTPInfo{Options: o} }
	fields := map[string]SCTPInfo{
		"sctpi_state": {}, // it is in the header, too
		"sctpi_tag":   {Tag: 1}, "sctpi_rwnd": {Rwnd: 1}, "sctpi_unackdata": {UnackData: 1}, "sctpi_penddata": {PendData: 1},
		"sctpi_instrms": {InStrms: 1}, "sctpi_outstrms": {OutStrms: 1}, "sctpi_fragmentation_point": {FragmentationPoint: 1},
		"sctpi_inqueue": {InQueue: 1}, "sctpi_outqueue": {OutQueue: 1}, "sctpi_overall_error": {OverallError: 1}, "sctpi_max_burst": {MaxBurst: 1},
		"sctpi_maxseg": {MaxSeg: 1}, "sctpi_peer_rwnd": {PeerRwnd: 1}, "sctpi_peer_tag": {PeerTag: 1}, "sctpi_peer_capable": {PeerCapable: SCTPAuth},
		"sctpi_peer_sack": {PeerSACK: 1},

		"sctpi_isacks": {ISACKs: 1}, "sctpi_osacks": {OSACKs: 1}, "sctpi_opackets": {OPackets: 1}, "sctpi_ipackets": {IPackets: 1},
		"sctpi_rtxchunks": {RtxChunks: 1}, "sctpi_outofseqtsns": {OutOfSeqTSNs: 1}, "sctpi_idupchunks": {IDupChunks: 1}, "sctpi_gapcnt": {GapCnt: 1},
		"sctpi_ouodchunks": {OUODChunks: 1}, "sctpi_iuodchunks": {IUODChunks: 1}, "sctpi_oodchunks": {OODChunks: 1}, "sctpi_iodchunks": {IODChunks: 1},
		"sctpi_octrlchunks": {OCtrlChunks: 1}, "sctpi_ictrlchunks": {ICtrlChunks: 1},

		"sctpi_p_address": path(SCTPPath{Address: netip.MustParseAddrPort("192.0.2.1:80")}),
		"sctpi_p_state":   path(SCTPPath{State: SCTPPathPotentiallyFailed}), "sctpi_p_cwnd": path(SCTPPath{Cwnd: 1}), "sctpi_p_srtt": path(SCTPPath{SRTT: 1}),
		"sctpi_p_rto": path(SCTPPath{RTO: time.Millisecond}), "sctpi_p_hbinterval": path(SCTPPath{HBInterval: 1}), "sctpi_p_pathmaxrxt": path(SCTPPath{PathMaxRxt: 1}),
		"sctpi_p_sackdelay": path(SCTPPath{SACKDelay: time.Millisecond}), "sctpi_p_sackfreq": path(SCTPPath{SACKFreq: 1}),
		"sctpi_p_ssthresh": path(SCTPPath{SSThresh: 1}), "sctpi_p_partial_bytes_acked": path(SCTPPath{PartialBytesAcked: 1}),
		"sctpi_p_flight_size": path(SCTPPath{FlightSize: 1}), "sctpi_p_error": path(SCTPPath{Error: 1}),

		"sctpi_s_autoclose": option(SCTPOptions{Autoclose: time.Second}), "sctpi_s_adaptation_ind": option(SCTPOptions{AdaptationInd: 1}),
		"sctpi_s_pd_point": option(SCTPOptions{PDPoint: 1}), "sctpi_s_nodelay": option(SCTPOptions{NoDelay: true}),
		"sctpi_s_disable_fragments": option(SCTPOptions{DisableFragments: true}), "sctpi_s_v4mapped": option(SCTPOptions{V4Mapped: true}),
		"sctpi_s_frag_interleave": option(SCTPOptions{FragInterleave: 1}), "sctpi_s_type": option(SCTPOptions{Type: 1}),
	}
	eachMember(t, layout, uapi.SizeofSCTPInfo, func(name string, b []byte, at uint32) {
		want, known := fields[name]
		if !known {
			t.Errorf("%s is not known", name)
			return
		}
		if name == "sctpi_p_address" {
			ne.PutUint16(b[at:], uapi.AFInet)
			binary.BigEndian.PutUint16(b[at+2:], 80)
			copy(b[at+4:], []byte{192, 0, 2, 1})
		}
		var got SCTPInfo
		if got.decode(b); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
	})
}

// eachMember calls f with every member of a structure but the reserved ones, with where
// it is, and with such a structure in which that member is 1 and the others 0.
func eachMember(t *testing.T, layout btf.Struct, known uint32, f func(name string, b []byte, at uint32)) {
	t.Helper()
	for _, m := range layout.Members {
		switch {
		case strings.Contains(m.Name, "reserved"):
			continue
		case m.Offset/8 >= known:
			t.Logf("this kernel's %s has more than is known here: %+v", layout.Name, m)
			continue
		}
		b := make([]byte, layout.Size)
		if m.Size <= 8 {
			putMember(b, m, 1)
		}
		f(m.Name, b, m.Offset/8)
	}
}
