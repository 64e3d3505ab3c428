package sockdiag

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// A TCP-MD5 key appears in nothing that prints, marshals or logs a Socket.
func TestMD5KeysAreRedacted(t *testing.T) {
	key := make([]byte, uapi.SizeofMD5Sig)
	copy(key, inBytes(t, uint8(2), uint8(24), uint16(6), []byte{192, 0, 2, 0}))
	copy(key[20:], "sesame")
	s, err := DecodeSocket(TCP, diagMessage(10, 179, 0, 1, attribute(uapi.InetDiagMD5Sig, append(key, key...))))
	if err != nil {
		t.Fatal(err)
	}
	if keys := s.Extra.MD5Keys; len(keys) != 2 || keys[1].Peers.String() != "192.0.2.0/24" || string(keys[1].Secret.Reveal()) != "sesame" {
		t.Fatalf("keys %v", s.Extra.MD5Keys)
	}
	s.Extra.MD5Keys[0].Secret.Reveal()[0] = 'x'
	if string(s.Extra.MD5Keys[0].Secret.Reveal()) != "sesame" {
		t.Error("Reveal hands out its own bytes")
	}
	if (MD5Secret{}).Reveal() != nil {
		t.Error("the zero MD5Secret has a key")
	}

	var out bytes.Buffer
	for _, v := range []any{s, &s, s.Extra, *s.Extra, s.Extra.MD5Keys, s.Extra.MD5Keys[0], s.Extra.MD5Keys[0].Secret, &s.Extra.MD5Keys[0].Secret,
		struct{ hidden MD5Key }{s.Extra.MD5Keys[0]}, struct{ hidden MD5Secret }{s.Extra.MD5Keys[0].Secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d", "% x", "%o", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("socket", "value", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("socket", "value", v)
	}
	for _, secret := range []string{"sesame", "736573616d65", "736573616D65", "73 65 73", "c2VzYW1l", "115 101 115", "0x73, 0x65"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in what was printed", secret)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing says that something is left out")
	}
}

func TestDecodeULP(t *testing.T) {
	subflow := attribute(uapi.ULPInfoMPTCP, bytes.Join([][]byte{
		attribute(uapi.SubflowTokenRem, inBytes(t, uint32(1))), attribute(uapi.SubflowTokenLoc, inBytes(t, uint32(2))),
		attribute(uapi.SubflowRelWrite, inBytes(t, uint32(3))), attribute(uapi.SubflowMapSeq, inBytes(t, uint64(1<<40))),
		attribute(uapi.SubflowMapSFSeq, inBytes(t, uint32(5))), attribute(uapi.SubflowSSNOffset, inBytes(t, uint32(6))),
		attribute(uapi.SubflowMapDataLen, inBytes(t, uint16(7))), attribute(uapi.SubflowFlags, inBytes(t, uint32(8))),
		attribute(uapi.SubflowIDRem, []byte{9}), attribute(uapi.SubflowIDLoc, []byte{10}), attribute(60, nil),
	}, nil))
	tls := attribute(uapi.ULPInfoTLS, bytes.Join([][]byte{
		attribute(uapi.TLSInfoVersion, inBytes(t, uint16(0x0304))), attribute(uapi.TLSInfoCipher, inBytes(t, uint16(52))),
		attribute(uapi.TLSInfoTXConf, inBytes(t, uint16(3))), attribute(uapi.TLSInfoRXConf, inBytes(t, uint16(9))),
		attribute(uapi.TLSInfoZCROTX, nil), attribute(uapi.TLSInfoRXNoPad, nil), attribute(uapi.TLSInfoTXMaxPayloadLen, inBytes(t, uint16(1000))),
	}, nil))
	name := func(s string) []byte { return attribute(uapi.ULPInfoName, append([]byte(s), 0)) }
	for _, tt := range []struct {
		nest []byte
		want ULPInfo
	}{
		{name("mptcp"), ULPInfo{Name: "mptcp"}},
		{append(name("mptcp"), subflow...), ULPInfo{Name: "mptcp", Sent: ULPHasMPTCP, MPTCP: MPTCPSubflow{TokenRemote: 1, TokenLocal: 2,
			RelWriteSeq: 3, MapSeq: 1 << 40, MapSubflowSeq: 5, SSNOffset: 6, MapDataLen: 7, Flags: 8, IDRemote: 9, IDLocal: 10}}},
		{append(name("tls"), tls...), ULPInfo{Name: "tls", Sent: ULPHasTLS, TLS: TLSInfo{Version: 0x0304, Cipher: 52, Send: TLSConfDevice, Recv: 9,
			ZeroCopySend: true, RecvNoPad: true, MaxPayload: 1000}}},
		{append(name("smc"), attribute(9, []byte("?"))...), ULPInfo{Name: "smc"}},
	} {
		s, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(0x8000|uapi.InetDiagULPInfo, tt.nest)))
		if err != nil || s.Extra.ULP != tt.want || s.Attrs != AttrULPInfo {
			t.Errorf("%+v, %v, want %+v", s.Extra, err, tt.want)
		}
	}
	// What is cut short, at any depth, is an error.
	for _, nest := range [][]byte{{1, 2, 3}, subflow[:len(subflow)-1], attribute(uapi.ULPInfoMPTCP, attribute(uapi.SubflowMapSeq, make([]byte, 4))),
		attribute(uapi.ULPInfoTLS, attribute(uapi.TLSInfoCipher, make([]byte, 1)))} {
		_, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagULPInfo, nest)))
		var short *DecodeError
		if !errors.As(err, &short) {
			t.Errorf("% x: error %v", nest, err)
		}
	}
	if got := TLSConf(9).String() + " " + TLSConfSoftware.String(); got != "TLSConf(9) software" {
		t.Error(got)
	}
}

// The bits of struct inet_diag_sockopt, on either byte order. Little-endian, the
// bytes are those of a TCP socket with IP_FREEBIND, IP_TRANSPARENT, IP_RECVERR and
// IP_BIND_ADDRESS_NO_PORT, as a kernel sent them; a big-endian compiler fills each
// byte from the other end.
func TestSocketOptions(t *testing.T) {
	want := SockOptRecvErr | SockOptConnectionSocket | SockOptFreebind | SockOptMulticastLoop | SockOptTransparent | SockOptMulticastAll | SockOptBindAddressNoPort
	for bigEndian, b := range map[bool][]byte{false: {0x77, 0x01}, true: {0xee, 0x80}} {
		var got SocketOptions
		if err := got.decode(b, bigEndian); err != nil || got != want {
			t.Errorf("big-endian %v: %v, %v, want %v", bigEndian, got, err, want)
		}
	}
	if err := new(SocketOptions).decode([]byte{1}, false); err == nil {
		t.Error("one byte is no error")
	}
	if got := (SockOptFreebind | 1<<15).String(); got != "Freebind|SocketOptions(15)" {
		t.Error(got)
	}
}

// The two ends of an MPTCP connection on one machine each have a token of their
// own. That of the peer is only known of subflows that joined later, and the
// recorded ones are first.
func TestDecodeSubflowTokens(t *testing.T) {
	for _, k := range recordings(t) {
		rec, _ := k.Capture("tcp4-all")
		tokens := map[uint32]bool{}
		subflows := 0
		for _, p := range payloadsOf(t, k, rec) {
			s, err := DecodeSocket(TCP, p)
			if err != nil {
				t.Fatal(err)
			}
			if s.Extra == nil || s.Extra.ULP.Sent&ULPHasMPTCP == 0 {
				continue
			}
			subflows++
			flow := s.Extra.ULP.MPTCP
			tokens[flow.TokenLocal] = true
			if flow.TokenLocal == 0 || flow.TokenRemote != 0 || s.Extra.ULP.Name != "mptcp" {
				t.Errorf("%s: %+v", k.Kernel, s.Extra.ULP)
			}
		}
		if subflows != len(tokens) || k.Kernel != "5.10.262" && subflows != 2 {
			t.Errorf("%s: %d subflows with %d tokens", k.Kernel, subflows, len(tokens))
		}
	}
}
