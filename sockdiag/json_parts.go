package sockdiag

// MarshalJSON returns the ID as a JSON object with the members family, protocol,
// local, remote, interface and cookie, as those of a Socket, and token, if it is
// known. It never returns an error.
func (id ID) MarshalJSON() ([]byte, error) {
	j := jsonCodec{out: append(make([]byte, 0, 192), '{')}
	id.json(&j)
	return append(j.out, '}'), nil
}

// UnmarshalJSON takes back what MarshalJSON returns, or the ID out of a Socket's
// object. What is not there is zero, and names that are not known are ignored. The
// error is a *JSONError, after which id is unchanged.
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
	if id.Token != 0 || j.reading {
		jsonNumber(j, "token", &id.Token)
	}
	if j.reading && id.Protocol == MPTCP && j.object("mptcp_info", false) { // of a Socket
		jsonNumber(j, "token", &id.Token)
		j.end()
	}
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
