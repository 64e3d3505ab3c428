package sockdiag

import "time"

// BBRInfo is what BBR congestion control tells of itself (struct tcp_bbr_info).
type BBRInfo struct {
	Bandwidth  uint64        // its estimate of the path's, in bytes per second
	MinRTT     time.Duration // its estimate of the path's round trip
	PacingGain uint32        // factor on the bandwidth to send with, in 1/256
	CwndGain   uint32        // factor on the window, in 1/256
}

func (i *BBRInfo) decode(b []byte) error {
	if len(b) < 20 {
		return &DecodeError{What: "INET_DIAG_BBRINFO", Len: len(b), Want: 20}
	}
	*i = BBRInfo{
		Bandwidth:  uint64(ne.Uint32(b)) | uint64(ne.Uint32(b[4:]))<<32,
		MinRTT:     minRTT(ne.Uint32(b[8:])),
		PacingGain: ne.Uint32(b[12:]),
		CwndGain:   ne.Uint32(b[16:]),
	}
	return nil
}

// DCTCPInfo is what DCTCP congestion control tells of itself (struct
// tcp_dctcp_info).
type DCTCPInfo struct {
	Enabled bool   // false: ECN was not negotiated, and it works like Reno
	CEState uint16 // 1 while the last segment received was marked
	Alpha   uint32 // estimate of the share of marked bytes, in 1/1024
	ABECN   uint32 // bytes acknowledged with a mark, in this observation window
	ABTotal uint32 // bytes acknowledged in it
}

func (i *DCTCPInfo) decode(b []byte) error {
	if len(b) < 16 {
		return &DecodeError{What: "INET_DIAG_DCTCPINFO", Len: len(b), Want: 16}
	}
	*i = DCTCPInfo{
		Enabled: ne.Uint16(b) != 0, CEState: ne.Uint16(b[2:]),
		Alpha: ne.Uint32(b[4:]), ABECN: ne.Uint32(b[8:]), ABTotal: ne.Uint32(b[12:]),
	}
	return nil
}

// VegasInfo is what Vegas, Veno, Westwood, Illinois, YeAH and NV congestion control
// tell of themselves (struct tcpvegas_info), as far as each of them fills it in.
type VegasInfo struct {
	Enabled  bool          // it is at work on this connection
	RTTCount uint32        // samples in this round trip
	RTT      time.Duration // the last round trip
	MinRTT   time.Duration // the least; 0: no sample yet
}

func (i *VegasInfo) decode(b []byte) error {
	if len(b) < 16 {
		return &DecodeError{What: "INET_DIAG_VEGASINFO", Len: len(b), Want: 16}
	}
	*i = VegasInfo{
		Enabled: ne.Uint32(b) != 0, RTTCount: ne.Uint32(b[4:]),
		RTT: micros(ne.Uint32(b[8:])), MinRTT: vegasMinRTT(ne.Uint32(b[12:])),
	}
	return nil
}

// vegasMinRTT: without a sample, Vegas has 0x7fffffff there.
func vegasMinRTT(v uint32) time.Duration {
	if v == 0x7fffffff {
		return 0
	}
	return micros(v)
}
