package sockdiag

import "time"

// MarshalJSON returns the ID as a JSON object with the members family, protocol,
// local, remote, interface and cookie, as those of a Socket. It never returns an
// error.
func (id ID) MarshalJSON() ([]byte, error) {
	j := jsonCodec{out: append(make([]byte, 0, 192), '{')}
	id.json(&j)
	return append(j.out, '}'), nil
}

// UnmarshalJSON takes back what MarshalJSON returns, or the same members of a
// Socket's object. What is not there is zero, and names that are not known are
// ignored. The error is a *JSONError, after which id is unchanged.
func (id *ID) UnmarshalJSON(data []byte) error {
	return unmarshalJSON(data, id, (*ID).json)
}

func (id *ID) json(j *jsonCodec) {
	jsonText(j, "family", &id.Family)
	jsonText(j, "protocol", &id.Protocol)
	j.address("local", &id.Local)
	j.address("remote", &id.Remote)
	jsonNumber(j, "interface", &id.Interface)
	j.id("cookie", &id.Cookie)
}

// MarshalJSON returns the tcp_info as a JSON object. Its members are named after
// the kernel's, with the unit of times behind: tcpi_rtt is rtt_us, tcpi_last_data_sent
// is last_data_sent_ms. Only those are there that the kernel supplied (see Has).
//
// State, ca_state, options ("Timestamps|SACK") and fastopen_client_fail are texts,
// delivery_rate_app_limited is true or false, accecn is the four raw bytes of the
// method AccECN in base64, and all others are integers. Where the kernel has no
// number, there is null:
//
//   - last_data_sent_ms, last_data_recv_ms and last_ack_recv_ms that are NoTraffic
//   - rtt_us, rcv_rtt_us, min_rtt_us and delivery_rate without a sample
//   - pacing_rate and max_pacing_rate that are RateUnlimited
//   - snd_ssthresh that is SSThreshInfinite
//
// It never returns an error.
func (t TCPInfo) MarshalJSON() ([]byte, error) {
	return t.AppendJSON(make([]byte, 0, 1536)), nil
}

// AppendJSON appends what MarshalJSON returns, without a newline. It allocates
// nothing when b has room.
func (t *TCPInfo) AppendJSON(b []byte) []byte {
	j := jsonCodec{out: append(b, '{')}
	t.json(&j)
	return append(j.out, '}')
}

// UnmarshalJSON takes back what MarshalJSON returns. Has judges by the last field
// that is there, in the kernel's order: those that were taken out before it are zero,
// as if the kernel had sent that. Names that are not known are ignored. The error is
// a *JSONError, after which t is unchanged.
func (t *TCPInfo) UnmarshalJSON(data []byte) error {
	return unmarshalJSON(data, t, (*TCPInfo).json)
}

// jsonHas reports whether the kernel sent the field.
func (t *TCPInfo) jsonHas(j *jsonCodec, name string, f Field) bool {
	if !j.reading {
		return t.Has(f)
	}
	if j.find(name) == nil {
		return false
	}
	t.size = max(t.size, tcpInfoFields[f].need)
	return true
}

// extraAttrs are the attributes with a field in Extra.
const extraAttrs = AttrVegasInfo | AttrDCTCPInfo | AttrULPInfo | AttrMD5Keys | AttrUnknown

// json writes or reads what attrs has. The members stand in the Socket's object.
func (x *Extra) json(j *jsonCodec, attrs *Attrs) {
	if jsonPresent(j, "vegasinfo", attrs, AttrVegasInfo) && j.object("vegasinfo", true) {
		j.bool("enabled", &x.Vegas.Enabled)
		jsonNumber(j, "rttcnt", &x.Vegas.RTTCount)
		j.duration("rtt_us", &x.Vegas.RTT, time.Microsecond)
		if !jsonNull(j, "minrtt_us", &x.Vegas.MinRTT, 0) {
			j.duration("minrtt_us", &x.Vegas.MinRTT, time.Microsecond)
		}
		j.end()
	}
	if jsonPresent(j, "dctcpinfo", attrs, AttrDCTCPInfo) && j.object("dctcpinfo", true) {
		j.bool("enabled", &x.DCTCP.Enabled)
		jsonNumber(j, "ce_state", &x.DCTCP.CEState)
		jsonNumber(j, "alpha", &x.DCTCP.Alpha)
		jsonNumber(j, "ab_ecn", &x.DCTCP.ABECN)
		jsonNumber(j, "ab_tot", &x.DCTCP.ABTotal)
		j.end()
	}
	if jsonPresent(j, "ulp_info", attrs, AttrULPInfo) && j.object("ulp_info", true) {
		x.ULP.json(j)
		j.end()
	}
	if jsonPresent(j, "md5sig", attrs, AttrMD5Keys) {
		jsonArray(j, "md5sig", &x.MD5Keys)
		for i := range x.MD5Keys {
			j.item(i)
			j.prefix("peers", &x.MD5Keys[i].Peers)
			j.end()
		}
		j.endArray()
	}
	if jsonPresent(j, "unknown", attrs, AttrUnknown) {
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
		jsonNumber(j, "tx_max_payload_len", &u.TLS.MaxPayload)
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
