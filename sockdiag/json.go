package sockdiag

import "time"

// MarshalJSON returns the socket as a JSON object. The form is stable: a name keeps
// its meaning and its unit, and newer releases may add names. It never returns an
// error. AppendJSON is for many sockets: it writes the same into a buffer.
//
// The header is always there:
//
//	family, protocol     "IPv4", "TCP"
//	state                "TIME_WAIT": as tcpstate.State prints it
//	local, remote        "192.0.2.1:443", "[2001:db8::1]:443"
//	interface            index of the device that it is bound to, or 0
//	cookie               "4097", a string
//	rqueue, wqueue       RecvQueue and SendQueue
//	uid, inode
//
// So is the timer, if one runs: {"kind":"retransmit","retrans":2,"expires_ms":840}.
//
// What else is there is what the kernel sent: a value that is missing can be told
// from a zero. Each attribute (Socket.Attrs) has the kernel's name, INET_DIAG_*
// in small letters:
//
//	tcp_info             of TCP sockets: see TCPInfo.MarshalJSON
//	meminfo              rmem, wmem, fmem, tmem
//	skmeminfo            rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued,
//	                     optmem, backlog, drops
//	cong                 "cubic"
//	tos, tclass, mark, class_id
//	shutdown             "recv|send"; "none"
//	cgroup_id            "1099511627781", a string
//	sockopt              "RecvErr|Freebind": as SocketOptions prints it
//	skv6only             true or false
//	bbrinfo              bw, min_rtt_us, pacing_gain, cwnd_gain
//	vegasinfo            enabled, rttcnt, rtt_us, minrtt_us
//	dctcpinfo            enabled, ce_state, alpha, ab_ecn, ab_tot
//	ulp_info             name, and what the kernel sent of
//	    tls              version, cipher, txconf, rxconf ("software"), zc_ro_tx, rx_no_pad,
//	                     tx_max_payload_len
//	    mptcp            token_rem, token_loc, relwrite_seq, map_seq (a string), map_sfseq,
//	                     ssn_offset, map_datalen, flags, id_rem, id_loc
//	md5sig               [{"peers":"192.0.2.0/24"}]: the keys are left out
//	sk_bpf_storages      [{"map_id":1,"map_value":"AQI="}], in base64
//	raw_protocol         the INET_DIAG_PROTOCOL of raw sockets, a number
//	mptcp_info           of MPTCP sockets: the kernel's names without mptcpi_, and
//	                     last_data_sent_ms, last_data_recv_ms, last_ack_recv_ms; flags is
//	                     "Fallback|RemoteKey", and write_seq, snd_una, rcv_nxt are strings
//	locals, peers        ["192.0.2.1:5000","192.0.2.2:5000"], of SCTP sockets
//	sctp_info            of SCTP sockets: the kernel's names without sctpi_, and
//	                     p_srtt_ticks, p_rto_ms, p_hbinterval_ticks, p_sackdelay_ms,
//	                     s_autoclose_s; peer_capable is "Auth|IPv4", p_state "ACTIVE"
//	unknown              [{"type":40,"data":"AQI="}]: Extra.Unknown, in base64
//	other_attrs          "Attr(40)": of Attrs what none of the others tells
//
// An SCTP socket has sctp_state or sctp_endpoint, "COOKIE_WAIT" or "LISTENING".
//
// The members are named after the kernel's too, and mean what the fields of the
// struct say. Times are integers, in the kernel's unit, which their name ends with.
// Sizes are bytes, rates bytes per second. Texts are what String returns, so that a
// number without a name is "State(42)". A null is a value that is no number: no
// sample yet (min_rtt_us, minrtt_us), not said by the kernel (tx_max_payload_len), and
// in tcp_info also no limit and no such time.
//
// Numbers of 64 bits that count something are JSON numbers: it takes nine petabytes
// to bring one to where JavaScript and jq round it. Those that may be any number
// (cookie, cgroup_id, and sequence numbers) are strings of decimal digits.
//
// Raw bytes (unknown, map_value, and accecn of tcp_info) are in the byte order of
// the machine whose kernel sent them. TCP-MD5 keys are never written.
//
// The structs within a Socket, other than TCPInfo, have no JSON form of their own.
func (s Socket) MarshalJSON() ([]byte, error) {
	size := 512
	if s.Attrs&AttrTCPInfo != 0 {
		size = 2048
	}
	return s.AppendJSON(make([]byte, 0, size)), nil
}

// AppendJSON appends what MarshalJSON returns, without a newline. It allocates
// nothing for most sockets when b has room: a kilobyte or two. It takes a fraction
// of the time of json.Marshal, which checks and copies what MarshalJSON returns.
func (s *Socket) AppendJSON(b []byte) []byte {
	j := jsonCodec{out: append(b, '{')}
	s.json(&j)
	return append(j.out, '}')
}

// UnmarshalJSON sets s to the socket that an object of MarshalJSON tells of. They
// are equal, with two exceptions: TCP-MD5 keys have lost their Secret, and a byte
// that is not UTF-8, which no kernel puts into a name, becomes U+FFFD. Fields
// without their bit in Attrs were not written.
//
// Names that are not known are ignored, as newer releases may write them. What is
// not there, or null where there has to be a value, is zero, and an attribute is not
// in Attrs. Texts may be in any case and, states, in any spelling that
// tcpstate.Parse takes. Anything else is a *JSONError, after which s is unchanged.
// A JSON null changes nothing.
func (s *Socket) UnmarshalJSON(data []byte) error {
	return unmarshalJSON(data, s, (*Socket).json)
}

func (s *Socket) json(j *jsonCodec) {
	jsonText(j, "family", &s.Family)
	jsonText(j, "protocol", &s.Protocol)
	jsonText(j, "state", &s.State)
	j.address("local", &s.Local)
	j.address("remote", &s.Remote)
	jsonNumber(j, "interface", &s.Interface)
	j.id("cookie", &s.Cookie)
	jsonNumber(j, "rqueue", &s.RecvQueue)
	jsonNumber(j, "wqueue", &s.SendQueue)
	jsonNumber(j, "uid", &s.UID)
	jsonNumber(j, "inode", &s.Inode)
	if j.object("timer", s.Timer != Timer{}) {
		jsonText(j, "kind", &s.Timer.Kind)
		jsonNumber(j, "retrans", &s.Timer.Retransmits)
		j.duration("expires_ms", &s.Timer.Expires, time.Millisecond)
		j.end()
	}
	switch s.Protocol {
	case UDP, UDPLite, Raw, SCTP, MPTCP: // INET_DIAG_INFO is something else, or nothing
	default:
		if s.jsonHas(j, "tcp_info", AttrTCPInfo) && j.object("tcp_info", true) {
			s.TCPInfo.json(j)
			j.end()
		}
	}
	s.jsonAttrs(j)
	s.jsonExtra(j)
	s.jsonOther(j)
}

// jsonHas reports whether the attribute is there.
func (s *Socket) jsonHas(j *jsonCodec, name string, attr Attrs) bool {
	return j.attr(name, &s.Attrs, attr)
}

// jsonAttrs is the attributes with a field in Socket, but for tcp_info.
func (s *Socket) jsonAttrs(j *jsonCodec) {
	if s.jsonHas(j, "meminfo", AttrMemInfo) && j.object("meminfo", true) {
		jsonNumber(j, "rmem", &s.MemInfo.Recv)
		jsonNumber(j, "wmem", &s.MemInfo.SendQueue)
		jsonNumber(j, "fmem", &s.MemInfo.Forward)
		jsonNumber(j, "tmem", &s.MemInfo.Send)
		j.end()
	}
	if s.jsonHas(j, "skmeminfo", AttrSocketMemory) && j.object("skmeminfo", true) {
		jsonNumber(j, "rmem_alloc", &s.SocketMemory.RecvAlloc)
		jsonNumber(j, "rcvbuf", &s.SocketMemory.RecvBuffer)
		jsonNumber(j, "wmem_alloc", &s.SocketMemory.SendAlloc)
		jsonNumber(j, "sndbuf", &s.SocketMemory.SendBuffer)
		j.signed("fwd_alloc", &s.SocketMemory.Forward)
		jsonNumber(j, "wmem_queued", &s.SocketMemory.SendQueued)
		jsonNumber(j, "optmem", &s.SocketMemory.Options)
		jsonNumber(j, "backlog", &s.SocketMemory.Backlog)
		jsonNumber(j, "drops", &s.SocketMemory.Drops)
		j.end()
	}
	if s.jsonHas(j, "cong", AttrCongestion) {
		j.string("cong", &s.Congestion)
	}
	if s.jsonHas(j, "tos", AttrTOS) {
		jsonNumber(j, "tos", &s.TOS)
	}
	if s.jsonHas(j, "tclass", AttrTrafficClass) {
		jsonNumber(j, "tclass", &s.TrafficClass)
	}
	if s.jsonHas(j, "shutdown", AttrShutdown) {
		jsonText(j, "shutdown", &s.Shutdown)
	}
	if s.jsonHas(j, "mark", AttrMark) {
		jsonNumber(j, "mark", &s.Mark)
	}
	if s.jsonHas(j, "class_id", AttrClassID) {
		jsonNumber(j, "class_id", &s.ClassID)
	}
	if s.jsonHas(j, "cgroup_id", AttrCgroupID) {
		j.id("cgroup_id", &s.CgroupID)
	}
	if s.jsonHas(j, "sockopt", AttrSocketOptions) {
		jsonText(j, "sockopt", &s.Options)
	}
	if s.jsonHas(j, "skv6only", AttrV6Only) {
		j.bool("skv6only", &s.V6Only)
	}
	if s.Protocol == Raw && s.jsonHas(j, "raw_protocol", AttrProtocol) {
		jsonNumber(j, "raw_protocol", &s.RawProtocol)
	}
	if s.jsonHas(j, "bbrinfo", AttrBBRInfo) && j.object("bbrinfo", true) {
		jsonNumber(j, "bw", &s.BBR.Bandwidth)
		if !jsonNull(j, "min_rtt_us", &s.BBR.MinRTT, 0) {
			j.duration("min_rtt_us", &s.BBR.MinRTT, time.Microsecond)
		}
		jsonNumber(j, "pacing_gain", &s.BBR.PacingGain)
		jsonNumber(j, "cwnd_gain", &s.BBR.CwndGain)
		j.end()
	}
}

// jsonOther is the bits of Attrs that no member before it tells: those of attributes
// that were not kept.
func (s *Socket) jsonOther(j *jsonCodec) {
	var unknown Attrs
	if s.Extra != nil && s.Attrs&AttrUnknown != 0 {
		for _, a := range s.Extra.Unknown {
			if a.Type < 63 {
				unknown |= 1 << a.Type
			}
		}
	}
	other := s.Attrs &^ (j.told | unknown)
	if other != 0 || j.reading {
		jsonText(j, "other_attrs", &other)
	}
	if j.reading {
		s.Attrs |= other | unknown
	}
}
