package sockdiag

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/seed16c515c6/timewait/internal/capture"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// The form, spelt out: what the kernel sent and nothing else.
func TestSocketJSON(t *testing.T) {
	header := Socket{
		Family: IPv4, Protocol: TCP, State: tcpstate.TimeWait,
		Local: netip.MustParseAddrPort("192.0.2.1:443"), Remote: netip.MustParseAddrPort("198.51.100.7:51234"),
		Interface: 2, Cookie: 1<<63 + 1, RecvQueue: 3, SendQueue: 4, UID: 1000, Inode: 4242,
	}
	const headerJSON = `{"family":"IPv4","protocol":"TCP","state":"TIME_WAIT","local":"192.0.2.1:443","remote":"198.51.100.7:51234",` +
		`"interface":2,"cookie":"9223372036854775809","rqueue":3,"wqueue":4,"uid":1000,"inode":4242`
	with := func(change func(*Socket)) Socket {
		s := header
		change(&s)
		return s
	}
	for _, tt := range []struct {
		socket Socket
		want   string
	}{
		{header, headerJSON + `}`},
		{Socket{}, `{"family":"Family(0)","protocol":"Protocol(0)","state":"State(0)","local":"","remote":"","interface":0,"cookie":"0","rqueue":0,"wqueue":0,"uid":0,"inode":0}`},
		{with(func(s *Socket) { s.Timer = Timer{TimerTimeWait, 1, 59999 * time.Millisecond} }),
			headerJSON + `,"timer":{"kind":"time-wait","retrans":1,"expires_ms":59999}}`},
		{with(func(s *Socket) { s.Timer.Kind = 9 }), headerJSON + `,"timer":{"kind":"TimerKind(9)","retrans":0,"expires_ms":0}}`},
		{with(func(s *Socket) { // zeros that were sent
			s.Attrs = AttrMemInfo | AttrCongestion | AttrTOS | AttrTrafficClass | AttrShutdown | AttrMark | AttrClassID | AttrCgroupID | AttrSocketOptions | AttrV6Only
		}), headerJSON + `,"meminfo":{"rmem":0,"wmem":0,"fmem":0,"tmem":0},"cong":"","tos":0,"tclass":0,"shutdown":"none","mark":0,"class_id":0,` +
			`"cgroup_id":"0","sockopt":"none","skv6only":false}`},
		{with(func(s *Socket) {
			s.Attrs = AttrSocketMemory | AttrBBRInfo | AttrShutdown | 1<<40
			s.SocketMemory = SocketMemory{1, 2, 3, 4, -5, 6, 7, 8, 9}
			s.BBR = BBRInfo{Bandwidth: 1 << 40, PacingGain: 739, CwndGain: 512}
			s.Shutdown = ShutdownRecv | ShutdownSend
		}), headerJSON + `,"skmeminfo":{"rmem_alloc":1,"rcvbuf":2,"wmem_alloc":3,"sndbuf":4,"fwd_alloc":-5,"wmem_queued":6,"optmem":7,"backlog":8,"drops":9},` +
			`"shutdown":"recv|send","bbrinfo":{"bw":1099511627776,"min_rtt_us":null,"pacing_gain":739,"cwnd_gain":512},"other_attrs":"Attr(40)"}`},
		{with(func(s *Socket) {
			s.Attrs = AttrULPInfo | AttrMD5Keys | AttrVegasInfo | AttrDCTCPInfo
			s.Extra = &Extra{
				Vegas:   VegasInfo{Enabled: true, RTTCount: 1, RTT: 2 * time.Microsecond, MinRTT: 3 * time.Microsecond},
				ULP:     ULPInfo{Name: "mptcp", Sent: ULPHasMPTCP, MPTCP: MPTCPSubflow{MapSeq: 1 << 63}},
				MD5Keys: []MD5Key{{Peers: netip.MustParsePrefix("2001:db8::/32")}, {}},
			}
		}), headerJSON + `,"vegasinfo":{"enabled":true,"rttcnt":1,"rtt_us":2,"minrtt_us":3},"dctcpinfo":{"enabled":false,"ce_state":0,"alpha":0,"ab_ecn":0,"ab_tot":0},` +
			`"ulp_info":{"name":"mptcp","mptcp":{"token_rem":0,"token_loc":0,"relwrite_seq":0,"map_seq":"9223372036854775808","map_sfseq":0,"ssn_offset":0,` +
			`"map_datalen":0,"flags":0,"id_rem":0,"id_loc":0}},"md5sig":[{"peers":"2001:db8::/32"},{"peers":""}]}`},
		{with(func(s *Socket) {
			s.Attrs = AttrULPInfo | AttrUnknown | 1<<41
			s.Extra = &Extra{
				ULP:     ULPInfo{Name: "tls", Sent: ULPHasTLS, TLS: TLSInfo{0x0304, 52, TLSConfDevice, 9, true, false, 16384}},
				Unknown: []RawAttr{{41, []byte{1, 2}}, {1000, []byte{}}},
			}
		}), headerJSON + `,"ulp_info":{"name":"tls","tls":{"version":772,"cipher":52,"txconf":"device","rxconf":"TLSConf(9)","zc_ro_tx":true,"rx_no_pad":false,` +
			`"tx_max_payload_len":16384}},"unknown":[{"type":41,"data":"AQI="},{"type":1000,"data":""}]}`},
		{with(func(s *Socket) {
			s.Attrs, s.Extra = AttrULPInfo, &Extra{ULP: ULPInfo{Name: "tls", Sent: ULPHasTLS}}
		}), headerJSON + `,"ulp_info":{"name":"tls","tls":{"version":0,"cipher":0,"txconf":"unset","rxconf":"unset","zc_ro_tx":false,"rx_no_pad":false,` +
			`"tx_max_payload_len":null}}}`},
		{with(func(s *Socket) {
			s.Protocol, s.Attrs, s.RawProtocol = Raw, AttrProtocol, 89
		}), strings.Replace(headerJSON, "TCP", "Raw", 1) + `,"raw_protocol":89}`},
		{with(func(s *Socket) { // tcp_info of what has none, and was not kept
			s.Protocol, s.Attrs = UDP, AttrTCPInfo|AttrProtocol
		}), strings.Replace(headerJSON, "TCP", "UDP", 1) + `,"other_attrs":"TCPInfo|Protocol"}`},
		{with(func(s *Socket) { // Linux 5.10
			s.Protocol, s.Attrs = MPTCP, AttrMPTCPInfo|AttrBPFStorages
			s.Extra = &Extra{
				MPTCP:       &MPTCPInfo{Flags: MPTCPRemoteKey, Token: 7, WriteSeq: 1 << 63, Sent: MPTCPHasLocalAddr},
				BPFStorages: []BPFStorage{{3, []byte{1, 2}}, {4, nil}},
			}
		}), strings.Replace(headerJSON, "TCP", "MPTCP", 1) + `,"sk_bpf_storages":[{"map_id":3,"map_value":"AQI="},{"map_id":4,"map_value":null}],` +
			`"mptcp_info":{"subflows":0,"add_addr_signal":0,"add_addr_accepted":0,"subflows_max":0,"add_addr_signal_max":0,"add_addr_accepted_max":0,` +
			`"flags":"RemoteKey","token":7,"write_seq":"9223372036854775808","snd_una":"0","rcv_nxt":"0","local_addr_used":0,"local_addr_max":0,"csum_enabled":false}}`},
		{with(func(s *Socket) {
			s.Protocol, s.State, s.Attrs = SCTP, 0, AttrLocals|AttrPeers
			s.Extra = &Extra{SCTP: &SCTPInfo{State: SCTPCookieWait, Locals: []netip.AddrPort{}, Peers: []netip.AddrPort{header.Remote, {}}}}
		}), strings.NewReplacer("TCP", "SCTP", "TIME_WAIT", "State(0)").Replace(headerJSON) +
			`,"sctp_state":"COOKIE_WAIT","locals":[],"peers":["198.51.100.7:51234",""]}`},
		{with(func(s *Socket) {
			s.Protocol, s.Extra = SCTP, &Extra{SCTP: &SCTPInfo{Endpoint: SCTPEndpointListening}}
		}), strings.Replace(headerJSON, "TCP", "SCTP", 1) + `,"sctp_endpoint":"LISTENING"}`},
		{with(func(s *Socket) { // text that JSON has to escape
			s.Attrs, s.Congestion = AttrCongestion, "<\"\\\n\u2028é>"
			s.Local = netip.AddrPortFrom(netip.MustParseAddr("fe80::1%a\"b"), 80)
		}), strings.Replace(headerJSON, `192.0.2.1:443`, `[fe80::1%a\"b]:80`, 1) + `,"cong":"\u003c\"\\\n\u2028é\u003e"}`},
	} {
		got, err := json.Marshal(tt.socket)
		if err != nil || string(got) != tt.want {
			t.Errorf("error %v\n got %s\nwant %s", err, got, tt.want)
		}
		if appended := tt.socket.AppendJSON([]byte("x")); string(appended) != "x"+tt.want {
			t.Errorf("appended %s", appended)
		}
		back := Socket{Mark: 7, Extra: &Extra{}} // all of it is replaced
		if err := json.Unmarshal(got, &back); err != nil || !same(back, tt.socket) {
			t.Errorf("%s\nerror %v, back\n got %+v\nwant %+v", got, err, back, tt.socket)
		}
		var id ID
		if err := json.Unmarshal(got, &id); err != nil || id != tt.socket.ID() {
			t.Errorf("error %v, ID %+v of %s", err, id, got)
		}
		// Its members are the Socket's.
		idJSON, err := json.Marshal(id)
		for member := range strings.SplitSeq(strings.Trim(string(idJSON), "{}"), ",") {
			if !strings.Contains(string(got), member) || err != nil {
				t.Errorf("error %v, ID %s", err, idJSON)
			}
		}
	}
	// Without its bit, nothing is written.
	s := header
	s.Mark, s.TCPInfo, s.Extra = 1, TCPInfo{size: 280}, &Extra{ULP: ULPInfo{Name: "tls"}, Unknown: []RawAttr{{}}}
	if got := s.AppendJSON(nil); string(got) != headerJSON+"}" {
		t.Errorf("without Attrs: %s", got)
	}
}

// What a field of Socket, or of a struct in it, holds reaches the JSON and comes
// back. A field that is added has to be written, or this fails.
func TestJSONHasEveryField(t *testing.T) {
	n := 100
	// What sockets of a protocol do not have is cleared, and nothing else.
	for p, not := range map[Protocol]func(s *Socket){
		TCP:   func(s *Socket) { s.Extra.MPTCP, s.Extra.SCTP, s.RawProtocol = nil, nil, 0 },
		MPTCP: func(s *Socket) { s.TCPInfo, s.Extra.SCTP, s.RawProtocol = TCPInfo{}, nil, 0 },
		SCTP:  func(s *Socket) { s.TCPInfo, s.Extra.MPTCP, s.RawProtocol = TCPInfo{}, nil, 0 },
		Raw:   func(s *Socket) { s.TCPInfo, s.Extra.MPTCP, s.Extra.SCTP = TCPInfo{}, nil, nil },
	} {
		var s Socket
		n = 100
		fill(t, reflect.ValueOf(&s).Elem(), &n)
		s.Protocol = p
		not(&s)
		if s.Extra.SCTP == nil {
			s.Attrs &^= AttrLocals | AttrPeers
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Socket
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if !same(s, back) {
			t.Errorf("%v is not the same again:\n got %+v %+v\nwant %+v %+v\n%s", p, back, back.Extra, s, s.Extra, b)
		}
		checkNames(t, b)
	}
	if n < 300 {
		t.Fatalf("only %d fields", n-100)
	}

	var id, idBack ID
	fill(t, reflect.ValueOf(&id).Elem(), &n)
	b, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &idBack); err != nil || idBack != id {
		t.Errorf("%s: %v, %+v", b, err, idBack)
	}
}

// fill sets all of v to values that differ from zero and from each other.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	if !v.CanSet() { // a field that is not exported
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	switch p := v.Addr().Interface().(type) {
	case *Attrs:
		*p = allAttrs | 1<<40
		return
	case *ULPAttributes:
		*p = ULPHasTLS | ULPHasMPTCP
		return
	case *MPTCPFields:
		*p = MPTCPHasLocalAddr | MPTCPHasTraffic | MPTCPHasSubflowsTotal | MPTCPHasLast
		return
	case *MD5Secret: // does not come back
		return
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(*n))
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(*n)}), 24)
		return
	case *time.Duration:
		*p = time.Duration(*n) * time.Second
		return
	case *TCPInfo:
		defer func() { p.size = sizeofTCPInfo }()
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("name" + strconv.Itoa(*n))
	case reflect.Uint8:
		v.SetUint(uint64(1 + *n%255))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Int32:
		v.SetInt(-int64(*n))
	default:
		t.Fatalf("a %v: what is a value of it?", v.Type())
	}
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// checkNames finds names that stand twice in an object, or that are not in snake case.
func checkNames(t *testing.T, b []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	var walk func()
	walk = func() {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[any]bool{}
		for d.More() && (tok == json.Delim('{') || tok == json.Delim('[')) {
			if tok == json.Delim('{') {
				name, err := d.Token()
				if err != nil || seen[name] || !snakeCase.MatchString(name.(string)) {
					t.Errorf("name %v: %v in %s", name, err, b)
				}
				seen[name] = true
			}
			walk()
		}
		if tok == json.Delim('{') || tok == json.Delim('[') {
			_, _ = d.Token()
		}
	}
	walk()
	if _, err := d.Token(); err != io.EOF {
		t.Errorf("more than a value: %s", b)
	}
}

// What kernels sent is the same after a turn through JSON. What is in the JSON is
// what the recording program, which is no decoder of ours, made of the same bytes;
// and the integers of tcp_info are those in the kernel's struct.
func TestJSONCaptures(t *testing.T) {
	rows := map[Protocol]int{}
	for _, k := range recordings(t) {
		t.Run(k.Kernel, func(t *testing.T) {
			integers, nulls := 0, map[string]bool{}
			for i := range k.Captures {
				c := &k.Captures[i]
				for r, payload := range payloadsOf(t, k, c) {
					s, err := DecodeSocket(Protocol(c.Protocol()), payload)
					if err != nil {
						t.Fatal(err)
					}
					b, err := json.Marshal(s)
					if err != nil {
						t.Fatal(err)
					}
					checkTurn(t, s, b)
					checkNames(t, b)
					checkRowJSON(t, b, c.Rows[r], s.Protocol)
					rows[s.Protocol]++
					if s.Protocol == TCP {
						integers += checkTCPInfoJSON(t, b, payload, nulls)
					}
				}
			}
			if integers < 4000 || !nulls["rtt_us"] || !nulls["last_data_sent_ms"] || !nulls["snd_ssthresh"] || !nulls["max_pacing_rate"] || !nulls["min_rtt_us"] {
				t.Errorf("%d integers and null for %v were looked at", integers, nulls)
			}
		})
	}
	if rows[TCP] < 900 || rows[UDP] < 10 || rows[Raw] < 10 || rows[MPTCP] < 10 || rows[SCTP] < 10 {
		t.Errorf("%v rows were looked at", rows)
	}
}

// checkTurn checks that b, which is s in JSON, becomes s again.
func checkTurn(t *testing.T, s Socket, b []byte) {
	t.Helper()
	var back Socket
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	// encoding/json escapes what stands for a byte that is not UTF-8.
	if again := back.AppendJSON(nil); !bytes.Equal(again, bytes.ReplaceAll(b, []byte(`\ufffd`), []byte("\ufffd"))) {
		t.Errorf("first %s\n then %s", b, again)
	}
	if s.Extra != nil {
		// What does not come back.
		x := *s.Extra
		x.ULP.Name = string([]rune(x.ULP.Name))
		x.MD5Keys = slices.Clone(x.MD5Keys)
		if len(x.BPFStorages) == 0 && s.Attrs.Has(AttrBPFStorages) {
			x.BPFStorages = []BPFStorage{} // none is none
		}
		for i := range x.MD5Keys {
			x.MD5Keys[i].Secret = MD5Secret{}
			if !x.MD5Keys[i].Peers.IsValid() {
				x.MD5Keys[i].Peers = netip.Prefix{}
			}
		}
		s.Extra = &x
	}
	s.Congestion = string([]rune(s.Congestion))
	if !same(s, back) {
		t.Errorf("not the same again:\n got %+v %+v\nwant %+v %+v\n%s", back, back.Extra, s, s.Extra, b)
	}
}

func checkRowJSON(t *testing.T, b []byte, want capture.Row, p Protocol) {
	t.Helper()
	if want.Timer == 0 {
		want.ExpiresMS = 0 // of nothing, and old kernels leave something there
	}
	var got struct {
		State, Local, Remote, Cookie     string
		Interface, RQueue, WQueue, Inode uint32
		Timer                            struct {
			Kind      string
			Retrans   uint8
			ExpiresMS uint32 `json:"expires_ms"`
		}
	}
	got.Timer.Kind = "none"
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if p == SCTP { // has states, timers and addresses of its own
		got.State, got.Timer.Kind, want.State, want.Timer = "State(0)", "none", 0, 0
		got.Timer.ExpiresMS, want.ExpiresMS = 0, 0
		got.Local, got.Remote = want.Local.String(), want.Remote.String()
	}
	if got.State != tcpstate.State(want.State).String() || got.Local != want.Local.String() || got.Remote != want.Remote.String() ||
		got.Cookie != strconv.FormatUint(want.Cookie, 10) || got.Interface != want.Interface || got.RQueue != want.RecvQueue ||
		got.WQueue != want.SendQueue || got.Inode != want.Inode || got.Timer.Kind != TimerKind(want.Timer).String() ||
		got.Timer.Retrans != want.Retrans || got.Timer.ExpiresMS != want.ExpiresMS {
		t.Errorf("%s of %+v", b, want)
	}
}

// checkTCPInfoJSON compares with the bytes of the tcp_info, and returns how many
// integers there were.
func checkTCPInfoJSON(t *testing.T, b, payload []byte, nulls map[string]bool) (integers int) {
	t.Helper()
	var raw []byte
	_ = eachAttr(payload[uapi.SizeofInetDiagMsg:], func(typ uint16, b []byte) error {
		if typ == uapi.InetDiagInfo {
			raw = b
		}
		return nil
	})
	var got struct {
		TCPInfo map[string]json.RawMessage `json:"tcp_info"`
	}
	if err := json.Unmarshal(b, &got); err != nil || (got.TCPInfo == nil) != (raw == nil) {
		t.Fatalf("%v: %s", err, b)
	}
	for f := range Fields() {
		row := &tcpInfoFields[f]
		name := strings.TrimPrefix(row.name, "tcpi_")
		for _, unit := range []string{"_us", "_ms"} {
			if _, ok := got.TCPInfo[name+unit]; ok {
				name += unit
			}
		}
		value, ok := got.TCPInfo[name]
		delete(got.TCPInfo, name)
		if ok != (int(row.need) <= len(raw)) {
			t.Errorf("%s is there: %t, of a tcp_info of %d bytes", name, ok, len(raw))
		}
		if !ok {
			continue
		}
		member := raw[row.off : row.off+row.size]
		var want uint64
		switch row.size {
		case 4:
			want = uint64(ne.Uint32(member))
		case 8:
			want = ne.Uint64(member)
		}
		switch {
		case string(value) == "null":
			nulls[name] = true
			if strings.HasPrefix(name, "last_") {
				break // a time since the clock's zero
			}
			if want != 0 && want != 1<<32-1 && want != 1<<64-1 && want != 0x7fffffff {
				t.Errorf("%s is null, and %d in the kernel's struct", name, want)
			}
		case f == FieldAccECN:
			if string(value) != `"`+base64.StdEncoding.EncodeToString(member)+`"` {
				t.Errorf("%s: %s of % x", name, value, member)
			}
		case row.size >= 4:
			integers++
			if string(value) != strconv.FormatUint(want, 10) {
				t.Errorf("%s: %s, and %d in the kernel's struct", name, value, want)
			}
		}
	}
	if len(got.TCPInfo) != 0 {
		t.Errorf("names that are no fields: %v", got.TCPInfo)
	}
	return integers
}

// A tcp_info of any length comes back with the same fields.
func TestTCPInfoJSON(t *testing.T) {
	kernel := bytes.Repeat([]byte{0x15}, 300)
	fields := 0
	for n := range len(kernel) + 1 {
		var info, back TCPInfo
		info.decode(kernel[:n])
		b, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &back); err != nil || back != info {
			t.Errorf("%d bytes: %v\n got %+v\nwant %+v\n%s", n, err, back, info, b)
		}
		has := 0
		for f := range Fields() {
			if back.Has(f) {
				has++
			}
		}
		if want := strings.Count(string(b), ":"); has != want || has < fields {
			t.Errorf("%d bytes: %d fields, %d in %s", n, has, want, b)
		}
		fields = has
	}
	if fields != len(tcpInfoFields)-1 {
		t.Errorf("%d fields", fields)
	}
	sentinels := TCPInfo{size: sizeofTCPInfo, LastDataSent: NoTraffic, LastDataRecv: NoTraffic, LastAckRecv: NoTraffic,
		PacingRate: RateUnlimited, MaxPacingRate: RateUnlimited, SndSSThresh: SSThreshInfinite}
	b, err := json.Marshal(sentinels)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"last_data_sent_ms", "last_data_recv_ms", "last_ack_recv_ms", "pacing_rate", "max_pacing_rate", "snd_ssthresh",
		"rtt_us", "rcv_rtt_us", "min_rtt_us", "delivery_rate"} {
		if !strings.Contains(string(b), `"`+name+`":null`) {
			t.Errorf("%s is not null: %s", name, b)
		}
	}
	if n := strings.Count(string(b), "null"); n != 10 {
		t.Errorf("%d null in %s", n, b)
	}
	var back TCPInfo
	if err := json.Unmarshal(b, &back); err != nil || back != sentinels {
		t.Errorf("%v, %+v", err, back)
	}
}

// Input that is not a Socket is an error that says where, and changes nothing.
func TestUnmarshalJSONErrors(t *testing.T) {
	for in, want := range map[string]JSONError{
		`[]`:                                      {"", errors.New("[] is not an object")},
		`"x"`:                                     {"", errors.New(`"x" is not an object`)},
		`{"family":4}`:                            {"family", errors.New("4 is not a string")},
		`{"family":"IPv5"}`:                       {"family", &TextError{Text: "IPv5"}},
		`{"protocol":"Protocol(70000)"}`:          {"protocol", &TextError{Text: "Protocol(70000)"}},
		`{"state":"OPEN"}`:                        {"state", &tcpstate.ParseError{Text: "OPEN"}},
		`{"local":"192.0.2.1"}`:                   {"local", nil},
		`{"interface":-1}`:                        {"interface", errors.New("-1 is not an integer from 0 to 4294967295")},
		`{"uid":4294967296}`:                      {"uid", errors.New("4294967296 is not an integer from 0 to 4294967295")},
		`{"uid":1e3}`:                             {"uid", errors.New("1e3 is not an integer from 0 to 4294967295")},
		`{"cookie":1}`:                            {"cookie", errors.New("1 is not a string with an integer from 0 to 18446744073709551615")},
		`{"cookie":"x"}`:                          {"cookie", errors.New(`"x" is not a string with an integer from 0 to 18446744073709551615`)},
		`{"timer":"none"}`:                        {"timer", errors.New(`"none" is not an object`)},
		`{"timer":{"expires_ms":-1}}`:             {"timer.expires_ms", errors.New("-1 is not an integer from 0 to 9223372036854")},
		`{"tcp_info":[1]}`:                        {"tcp_info", errors.New("[1] is not an object")},
		`{"tcp_info":{"rtt_us":"1"}}`:             {"tcp_info.rtt_us", errors.New(`"1" is not an integer from 0 to 9223372036854775`)},
		`{"tcp_info":{"ca_state":"Shut"}}`:        {"tcp_info.ca_state", &TextError{Text: "Shut"}},
		`{"tcp_info":{"options":"SACK|X"}}`:       {"tcp_info.options", &TextError{Text: "X"}},
		`{"tcp_info":{"accecn":"AQI="}}`:          {"tcp_info.accecn", errors.New(`"AQI=" is not base64 of four bytes`)},
		`{"skmeminfo":{"fwd_alloc":3e9}}`:         {"skmeminfo.fwd_alloc", errors.New("3e9 is not an integer from -2147483648 to 2147483647")},
		`{"tos":256}`:                             {"tos", errors.New("256 is not an integer from 0 to 255")},
		`{"cong":7}`:                              {"cong", errors.New("7 is not a string")},
		`{"skv6only":0}`:                          {"skv6only", errors.New("0 is not true or false")},
		`{"ulp_info":{"tls":{"txconf":1}}}`:       {"ulp_info.tls.txconf", errors.New("1 is not a string")},
		`{"md5sig":{}}`:                           {"md5sig", errors.New("{} is not an array")},
		`{"md5sig":[{"peers":"x"}]}`:              {"md5sig[0].peers", nil},
		`{"unknown":[{},7]}`:                      {"unknown[1]", errors.New("7 is not an object")},
		`{"unknown":[{},null]}`:                   {"unknown[1]", errors.New("null is not an object")},
		`{"unknown":[{"data":"?"}]}`:              {"unknown[0].data", errors.New(`"?" is not base64`)},
		`{"locals":[""," "]}`:                     {"locals[1]", errors.New(`" " is not an address and port`)},
		`{"peers":[null]}`:                        {"peers[0]", errors.New("null is not an address and port")},
		`{"protocol":"SCTP","sctp_state":"OPEN"}`: {"sctp_state", &TextError{Text: "OPEN"}},
		`{"protocol":"SCTP","sctp_info":{"p_rto_ms":"1"}}`: {"sctp_info.p_rto_ms", errors.New(`"1" is not an integer from 0 to 9223372036854`)},
		`{"protocol":"MPTCP","mptcp_info":{"token":-1}}`:   {"mptcp_info.token", errors.New("-1 is not an integer from 0 to 4294967295")},
		`{"other_attrs":"Attr(64)"}`:                       {"other_attrs", &TextError{Text: "Attr(64)"}},
		`{"cong":["` + strings.Repeat("x", 100) + `"]}`:    {"cong", errors.New(`["` + strings.Repeat("x", 38) + `... is not a string`)},
	} {
		s := Socket{Mark: 7}
		err := json.Unmarshal([]byte(in), &s)
		var got *JSONError
		if !errors.As(err, &got) || got.Field != want.Field || s != (Socket{Mark: 7}) {
			t.Errorf("%s: error %v", in, err)
			continue
		}
		switch cause := want.Err.(type) {
		case *TextError:
			var text *TextError
			if !errors.As(err, &text) || text.Text != cause.Text || text.Want == "" {
				t.Errorf("%s: error %v", in, err)
			}
		case *tcpstate.ParseError:
			var text *tcpstate.ParseError
			if !errors.As(err, &text) || text.Text != cause.Text {
				t.Errorf("%s: error %v", in, err)
			}
		case nil:
		default:
			if got.Err.Error() != cause.Error() {
				t.Errorf("%s: error %v, want %v", in, got.Err, cause)
			}
		}
	}
	err := new(Socket).UnmarshalJSON([]byte("{"))
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		t.Errorf("error %v", err)
	}
	err = json.Unmarshal([]byte(`{"tcp_info":{"ca_state":"Shut"}}`), new(Socket))
	if want := `sockdiag: JSON: tcp_info.ca_state: "Shut" is not a CAState such as Recovery or CAState(9)`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// What other releases and other programs may write.
func TestUnmarshalJSONLenient(t *testing.T) {
	for in, want := range map[string]Socket{
		`{}`: {},
		` { "novel" : [ {"x":null} ] , "timer" : { "novel":1 } } `:                        {},
		`{"state":"estab","family":" ipv6 ","timer":{"kind":"KEEPALIVE"}}`:                {State: tcpstate.Established, Family: IPv6, Timer: Timer{Kind: TimerKeepalive}},
		`{"family":"Family(2)","protocol":"protocol(6)"}`:                                 {Family: IPv4, Protocol: TCP},
		`{"uid":null,"local":null,"mark":null,"tcp_info":null,"unknown":null,"tos":null}`: {},
		`{"tcp_info":{}}`:                                                   {Attrs: AttrTCPInfo},
		`{"tcp_info":{"novel":1,"rto_us":null}}`:                            {Attrs: AttrTCPInfo, TCPInfo: TCPInfo{size: 12}},
		`{"tcp_info":{"options":" sack | timestamps "}}`:                    {Attrs: AttrTCPInfo, TCPInfo: TCPInfo{size: 6, Options: OptSACK | OptTimestamps}},
		`{"other_attrs":"Mark|MD5Keys|Attr(40)"}`:                           {Attrs: AttrMark | AttrMD5Keys | 1<<40},
		`{"md5sig":[],"unknown":[{"type":40}],"other_attrs":"none"}`:        {Attrs: AttrMD5Keys | AttrUnknown | 1<<40, Extra: &Extra{MD5Keys: []MD5Key{}, Unknown: []RawAttr{{Type: 40}}}},
		`{"ulp_info":{"name":"smc","tls":null}}`:                            {Attrs: AttrULPInfo, Extra: &Extra{ULP: ULPInfo{Name: "smc"}}},
		`{"md5sig":[{"peers":"192.0.2.0/24","secret":"sesame","novel":0}]}`: {Attrs: AttrMD5Keys, Extra: &Extra{MD5Keys: []MD5Key{{Peers: netip.MustParsePrefix("192.0.2.0/24")}}}},
	} {
		var s Socket
		if err := json.Unmarshal([]byte(in), &s); err != nil || !same(s, want) {
			t.Errorf("%s: error %v\n got %+v %+v\nwant %+v %+v", in, err, s, s.Extra, want, want.Extra)
		}
	}
	s := Socket{Mark: 7}
	if err := json.Unmarshal([]byte("null"), &s); err != nil || s != (Socket{Mark: 7}) {
		t.Errorf("null: %v, %+v", err, s)
	}
	if err := s.UnmarshalJSON([]byte(" null\n")); err != nil || s != (Socket{Mark: 7}) {
		t.Errorf("null: %v, %+v", err, s)
	}
}

// Writing takes no memory but the buffer's, not even for the Socket.
func TestAppendJSONAllocs(t *testing.T) {
	var sockets []Socket
	extras := 0
	for _, k := range recordings(t) {
		rec, ok := k.Capture("tcp4-all")
		if !ok {
			t.Fatal("no recording tcp4-all")
		}
		for _, p := range payloadsOf(t, k, rec) {
			s, err := DecodeSocket(TCP, p)
			if err != nil {
				t.Fatal(err)
			}
			if s.Extra != nil {
				extras++
			}
			sockets = append(sockets, s)
		}
	}
	b := make([]byte, 0, 4096)
	wrote := 0
	if n := testing.AllocsPerRun(5, func() {
		wrote = 0
		for _, s := range sockets { // copies, as a range over a dump has them
			wrote += len(s.AppendJSON(b))
		}
	}); n != 0 || wrote < 100_000 || extras < 10 {
		t.Errorf("%v allocations for %d bytes of %d sockets, %d with an Extra", n, wrote, len(sockets), extras)
	}
}

// Whatever comes as a reply, and can be decoded, comes back from JSON.
func FuzzSocketJSON(f *testing.F) {
	for _, k := range recordings(f) {
		for i := range k.Captures {
			payloads, err := k.Payloads(&k.Captures[i])
			if err != nil {
				f.Fatal(err)
			}
			for _, p := range payloads[:min(len(payloads), 8)] {
				f.Add(k.Captures[i].Protocol(), p)
			}
		}
	}
	f.Fuzz(func(t *testing.T, p uint16, b []byte) {
		s, err := DecodeSocket(Protocol(p), b)
		if err != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if appended := s.AppendJSON(nil); !bytes.Equal(appended, out) {
			t.Errorf("appended %s\nmarshalled %s", appended, out)
		}
		checkTurn(t, s, out)
	})
}

// Whatever is said to be a Socket is one, which comes back from JSON, or an error
// that says where.
func FuzzSocketUnmarshalJSON(f *testing.F) {
	for _, k := range recordings(f) {
		rec, _ := k.Capture("tcp6-all")
		payloads, err := k.Payloads(rec)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range payloads {
			s, err := DecodeSocket(TCP, p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(s.AppendJSON(nil))
		}
		for _, name := range []string{"sctp4-all", "mptcp6-all", "raw4-all"} {
			if rec, ok := k.Capture(name); ok {
				for _, p := range payloadsOf(f, k, rec) {
					s, err := DecodeSocket(Protocol(rec.Protocol()), p)
					if err != nil {
						f.Fatal(err)
					}
					f.Add(s.AppendJSON(nil))
				}
			}
		}
	}
	f.Add([]byte(`{"unknown":[{"type":40,"data":"AQI="}],"md5sig":[{"peers":"192.0.2.0/24"}],"other_attrs":"Attr(30)"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkSplit(t, b)
		var s, back Socket
		err := s.UnmarshalJSON(b)
		if !json.Valid(b) && err == nil {
			t.Error("not valid, and no error")
		}
		if err != nil {
			var at *JSONError
			if !errors.As(err, &at) || s != (Socket{}) {
				t.Errorf("error %v, %+v", err, s)
			}
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%v: first %s\n then %s", err, out, again)
		}
	})
}

// checkSplit compares how an object is taken apart with what encoding/json makes of it.
func checkSplit(t *testing.T, b []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if json.Unmarshal(b, &want) != nil || want == nil {
		return
	}
	var j jsonCodec
	j.push("", bytes.Trim(b, jsonSpace), '{')
	if len(j.members) < len(want) {
		t.Errorf("%d members, want %d", len(j.members), len(want))
	}
	found := map[string]bool{}
	for _, m := range j.members {
		value, ok := want[string(m.name)]
		if !ok {
			t.Errorf("member %q", m.name)
		}
		if bytes.Equal(m.value, value) { // of several, the last
			found[string(m.name)] = true
		}
	}
	if len(found) != len(want) {
		t.Errorf("found %v of %s", found, b)
	}
}

// The connection of the newest kernel recorded of which most is known.
func BenchmarkSocketJSON(b *testing.B) {
	kernels := recordings(b)
	k := kernels[len(kernels)-1]
	rec, _ := k.Capture("tcp4-all")
	payloads, err := k.Payloads(rec)
	if err != nil {
		b.Fatal(err)
	}
	var s Socket
	for _, p := range payloads {
		if row, err := DecodeSocket(TCP, p); err == nil && row.Extra == nil && len(row.AppendJSON(nil)) > len(s.AppendJSON(nil)) {
			s = row
		}
	}
	// The same through reflection, as it would be without methods.
	type plainInfo TCPInfo
	type plainSocket Socket
	plain := struct {
		plainSocket
		TCPInfo plainInfo
	}{plainSocket(s), plainInfo(s.TCPInfo)}
	text := s.AppendJSON(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		buf := make([]byte, 0, 4096)
		for b.Loop() {
			buf = s.AppendJSON(buf[:0])
		}
	})
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reflection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&plain); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var back Socket
			if err := json.Unmarshal(text, &back); err != nil {
				b.Fatal(err)
			}
		}
	})
}
