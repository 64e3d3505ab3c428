package sockdiag

import (
	"errors"
	"io/fs"
	"testing"

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
	for _, module := range []string{"inet_diag", "tcp_diag"} {
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

// The numbers of the wire are those of the running kernel.
func TestKernelEnumerators(t *testing.T) {
	specs := diagTypes(t)
	// The state of bound-only sockets and the newest timer are not in every kernel.
	young := map[string]bool{"TCP_BOUND_INACTIVE": !mustRunningRelease(t).AtLeast(6, 8), "IDIAG_TIMER_DELACK": !mustRunningRelease(t).AtLeast(7, 1)}
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
		"INET_DIAG_SOCKOPT": uapi.InetDiagSockOpt,

		"IDIAG_TIMER_DELACK": uapi.TimerDelACK,
	} {
		t.Run(name, func(t *testing.T) {
			theirs, err := lookUp(t, specs, (*btf.Spec).Enumerator, name)
			switch {
			case errors.Is(err, btf.ErrNotFound) && young[name]:
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
