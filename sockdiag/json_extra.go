package sockdiag

import "time"

// jsonExtra is the attributes with a field in Extra. Its members stand in the
// Socket's object.
func (s *Socket) jsonExtra(j *jsonCodec) {
	if !j.reading {
		if s.Extra != nil {
			s.Extra.json(j, s.Protocol, &s.Attrs)
		}
		return
	}
	x := &Extra{MPTCP: new(MPTCPInfo), SCTP: new(SCTPInfo)}
	x.json(j, s.Protocol, &s.Attrs)
	// As decoding leaves it.
	if s.Protocol != MPTCP || !s.Attrs.Has(AttrMPTCPInfo) {
		x.MPTCP = nil
	}
	if s.Protocol != SCTP && s.Attrs&(AttrLocals|AttrPeers) == 0 {
		x.SCTP = nil
	}
	const extra = AttrVegasInfo | AttrDCTCPInfo | AttrULPInfo | AttrMD5Keys | AttrBPFStorages | AttrUnknown
	if x.MPTCP != nil || x.SCTP != nil || s.Attrs&extra != 0 {
		s.Extra = x
	}
}

// json writes or reads what attrs has, of a socket of protocol p. INET_DIAG_INFO is
// what the protocol makes of it.
func (x *Extra) json(j *jsonCodec, p Protocol, attrs *Attrs) {
	if j.attr("vegasinfo", attrs, AttrVegasInfo) && j.object("vegasinfo", true) {
		j.bool("enabled", &x.Vegas.Enabled)
		jsonNumber(j, "rttcnt", &x.Vegas.RTTCount)
		j.duration("rtt_us", &x.Vegas.RTT, time.Microsecond)
		if !jsonNull(j, "minrtt_us", &x.Vegas.MinRTT, 0) {
			j.duration("minrtt_us", &x.Vegas.MinRTT, time.Microsecond)
		}
		j.end()
	}
	if j.attr("dctcpinfo", attrs, AttrDCTCPInfo) && j.object("dctcpinfo", true) {
		j.bool("enabled", &x.DCTCP.Enabled)
		jsonNumber(j, "ce_state", &x.DCTCP.CEState)
		jsonNumber(j, "alpha", &x.DCTCP.Alpha)
		jsonNumber(j, "ab_ecn", &x.DCTCP.ABECN)
		jsonNumber(j, "ab_tot", &x.DCTCP.ABTotal)
		j.end()
	}
	if j.attr("ulp_info", attrs, AttrULPInfo) && j.object("ulp_info", true) {
		x.ULP.json(j)
		j.end()
	}
	if j.attr("md5sig", attrs, AttrMD5Keys) {
		jsonArray(j, "md5sig", &x.MD5Keys)
		for i := range x.MD5Keys {
			j.item(i)
			j.prefix("peers", &x.MD5Keys[i].Peers)
			j.end()
		}
		j.endArray()
	}
	if j.attr("sk_bpf_storages", attrs, AttrBPFStorages) {
		jsonArray(j, "sk_bpf_storages", &x.BPFStorages)
		for i := range x.BPFStorages {
			j.item(i)
			jsonNumber(j, "map_id", &x.BPFStorages[i].MapID)
			j.bytes("map_value", &x.BPFStorages[i].Value)
			j.end()
		}
		j.endArray()
	}
	if p == MPTCP && x.MPTCP != nil && j.attr("mptcp_info", attrs, AttrMPTCPInfo) && j.object("mptcp_info", true) {
		x.MPTCP.json(j)
		j.end()
	}
	if p == SCTP && x.SCTP != nil {
		if x.SCTP.State != 0 || j.reading {
			jsonText(j, "sctp_state", &x.SCTP.State)
		}
		if x.SCTP.Endpoint != 0 || j.reading {
			jsonText(j, "sctp_endpoint", &x.SCTP.Endpoint)
		}
	}
	if x.SCTP != nil && j.attr("locals", attrs, AttrLocals) {
		j.addresses("locals", &x.SCTP.Locals)
	}
	if x.SCTP != nil && j.attr("peers", attrs, AttrPeers) {
		j.addresses("peers", &x.SCTP.Peers)
	}
	if p == SCTP && x.SCTP != nil && j.attr("sctp_info", attrs, AttrSCTPInfo) && j.object("sctp_info", true) {
		x.SCTP.json(j)
		j.end()
	}
	if j.attr("unknown", attrs, AttrUnknown) {
		jsonArray(j, "unknown", &x.Unknown)
		for i := range x.Unknown {
			j.item(i)
			jsonNumber(j, "type", &x.Unknown[i].Type)
			j.bytes("data", &x.Unknown[i].Data)
			j.end()
		}
		j.endArray()
	}
}

func (u *ULPInfo) json(j *jsonCodec) {
	j.string("name", &u.Name)
	if jsonPresent(j, "tls", &u.Sent, ULPHasTLS) && j.object("tls", true) {
		jsonNumber(j, "version", &u.TLS.Version)
		jsonNumber(j, "cipher", &u.TLS.Cipher)
		jsonText(j, "txconf", &u.TLS.Send)
		jsonText(j, "rxconf", &u.TLS.Recv)
		j.bool("zc_ro_tx", &u.TLS.ZeroCopySend)
		j.bool("rx_no_pad", &u.TLS.RecvNoPad)
		if !jsonNull(j, "tx_max_payload_len", &u.TLS.MaxPayload, 0) {
			jsonNumber(j, "tx_max_payload_len", &u.TLS.MaxPayload)
		}
		j.end()
	}
	if jsonPresent(j, "mptcp", &u.Sent, ULPHasMPTCP) && j.object("mptcp", true) {
		jsonNumber(j, "token_rem", &u.MPTCP.TokenRemote)
		jsonNumber(j, "token_loc", &u.MPTCP.TokenLocal)
		jsonNumber(j, "relwrite_seq", &u.MPTCP.RelWriteSeq)
		j.id("map_seq", &u.MPTCP.MapSeq)
		jsonNumber(j, "map_sfseq", &u.MPTCP.MapSubflowSeq)
		jsonNumber(j, "ssn_offset", &u.MPTCP.SSNOffset)
		jsonNumber(j, "map_datalen", &u.MPTCP.MapDataLen)
		jsonNumber(j, "flags", &u.MPTCP.Flags)
		jsonNumber(j, "id_rem", &u.MPTCP.IDRemote)
		jsonNumber(j, "id_loc", &u.MPTCP.IDLocal)
		j.end()
	}
}

func (i *MPTCPInfo) json(j *jsonCodec) {
	jsonNumber(j, "subflows", &i.Subflows)
	jsonNumber(j, "add_addr_signal", &i.AddAddrSignal)
	jsonNumber(j, "add_addr_accepted", &i.AddAddrAccepted)
	jsonNumber(j, "subflows_max", &i.SubflowsMax)
	jsonNumber(j, "add_addr_signal_max", &i.AddAddrSignalMax)
	jsonNumber(j, "add_addr_accepted_max", &i.AddAddrAcceptedMax)
	jsonText(j, "flags", &i.Flags)
	jsonNumber(j, "token", &i.Token)
	j.id("write_seq", &i.WriteSeq)
	j.id("snd_una", &i.SndUna)
	j.id("rcv_nxt", &i.RcvNxt)
	if jsonPresent(j, "local_addr_used", &i.Sent, MPTCPHasLocalAddr) {
		jsonNumber(j, "local_addr_used", &i.LocalAddrUsed)
		jsonNumber(j, "local_addr_max", &i.LocalAddrMax)
		j.bool("csum_enabled", &i.CsumEnabled)
	}
	if jsonPresent(j, "retransmits", &i.Sent, MPTCPHasTraffic) {
		jsonNumber(j, "retransmits", &i.Retransmits)
		jsonNumber(j, "bytes_retrans", &i.BytesRetrans)
		jsonNumber(j, "bytes_sent", &i.BytesSent)
		jsonNumber(j, "bytes_received", &i.BytesReceived)
		jsonNumber(j, "bytes_acked", &i.BytesAcked)
	}
	if jsonPresent(j, "subflows_total", &i.Sent, MPTCPHasSubflowsTotal) {
		jsonNumber(j, "subflows_total", &i.SubflowsTotal)
		jsonNumber(j, "endp_laminar_max", &i.EndpLaminarMax)
		jsonNumber(j, "endp_fullmesh_max", &i.EndpFullmeshMax)
	}
	if jsonPresent(j, "last_data_sent_ms", &i.Sent, MPTCPHasLast) {
		j.duration("last_data_sent_ms", &i.LastDataSent, time.Millisecond)
		j.duration("last_data_recv_ms", &i.LastDataRecv, time.Millisecond)
		j.duration("last_ack_recv_ms", &i.LastAckRecv, time.Millisecond)
	}
}

// json writes or reads what struct sctp_info has.
func (i *SCTPInfo) json(j *jsonCodec) {
	jsonNumber(j, "tag", &i.Tag)
	jsonNumber(j, "rwnd", &i.Rwnd)
	jsonNumber(j, "unackdata", &i.UnackData)
	jsonNumber(j, "penddata", &i.PendData)
	jsonNumber(j, "instrms", &i.InStrms)
	jsonNumber(j, "outstrms", &i.OutStrms)
	jsonNumber(j, "fragmentation_point", &i.FragmentationPoint)
	jsonNumber(j, "inqueue", &i.InQueue)
	jsonNumber(j, "outqueue", &i.OutQueue)
	jsonNumber(j, "overall_error", &i.OverallError)
	jsonNumber(j, "max_burst", &i.MaxBurst)
	jsonNumber(j, "maxseg", &i.MaxSeg)
	jsonNumber(j, "peer_rwnd", &i.PeerRwnd)
	jsonNumber(j, "peer_tag", &i.PeerTag)
	jsonText(j, "peer_capable", &i.PeerCapable)
	jsonNumber(j, "peer_sack", &i.PeerSACK)
	jsonNumber(j, "isacks", &i.ISACKs)
	jsonNumber(j, "osacks", &i.OSACKs)
	jsonNumber(j, "opackets", &i.OPackets)
	jsonNumber(j, "ipackets", &i.IPackets)
	jsonNumber(j, "rtxchunks", &i.RtxChunks)
	jsonNumber(j, "outofseqtsns", &i.OutOfSeqTSNs)
	jsonNumber(j, "idupchunks", &i.IDupChunks)
	jsonNumber(j, "gapcnt", &i.GapCnt)
	jsonNumber(j, "ouodchunks", &i.OUODChunks)
	jsonNumber(j, "iuodchunks", &i.IUODChunks)
	jsonNumber(j, "oodchunks", &i.OODChunks)
	jsonNumber(j, "iodchunks", &i.IODChunks)
	jsonNumber(j, "octrlchunks", &i.OCtrlChunks)
	jsonNumber(j, "ictrlchunks", &i.ICtrlChunks)

	p := &i.Primary
	j.address("p_address", &p.Address)
	jsonText(j, "p_state", &p.State)
	jsonNumber(j, "p_cwnd", &p.Cwnd)
	jsonNumber(j, "p_srtt_ticks", &p.SRTT)
	j.duration("p_rto_ms", &p.RTO, time.Millisecond)
	jsonNumber(j, "p_hbinterval_ticks", &p.HBInterval)
	jsonNumber(j, "p_pathmaxrxt", &p.PathMaxRxt)
	j.duration("p_sackdelay_ms", &p.SACKDelay, time.Millisecond)
	jsonNumber(j, "p_sackfreq", &p.SACKFreq)
	jsonNumber(j, "p_ssthresh", &p.SSThresh)
	jsonNumber(j, "p_partial_bytes_acked", &p.PartialBytesAcked)
	jsonNumber(j, "p_flight_size", &p.FlightSize)
	jsonNumber(j, "p_error", &p.Error)

	o := &i.Options
	j.duration("s_autoclose_s", &o.Autoclose, time.Second)
	jsonNumber(j, "s_adaptation_ind", &o.AdaptationInd)
	jsonNumber(j, "s_pd_point", &o.PDPoint)
	j.bool("s_nodelay", &o.NoDelay)
	j.bool("s_disable_fragments", &o.DisableFragments)
	j.bool("s_v4mapped", &o.V4Mapped)
	jsonNumber(j, "s_frag_interleave", &o.FragInterleave)
	jsonNumber(j, "s_type", &o.Type)
}
