package sockdiag

import (
	"encoding"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// textType is what each type of text.go is, and its pointer.
type textType interface {
	comparable
	encoding.TextAppender
	encoding.TextMarshaler
	String() string
}

// checkText checks every value of a type from 0 to last, behind which none has a name.
func checkText[T interface {
	textType
	~uint8 | ~uint16 | ~uint32 | ~uint64
}, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, last T) {
	t.Helper()
	for v := T(0); ; v++ {
		checkTextOf[T, P](t, v)
		if v == last {
			break
		}
	}
	for _, bad := range []string{"", "x", "none|x", "|", "Family", "Family(", "Family()", "Family(-1)", "Family(99999)", "TimerKind(256)", "TCPOptions(8)", "Attr(64)", strings.Repeat("x", 1000)} {
		v := last
		err := P(&v).UnmarshalText([]byte(bad))
		var text *TextError
		if !errors.As(err, &text) || v != last || !strings.HasSuffix("|"+bad, "|"+text.Text) && !strings.Contains(bad, text.Text) || len(err.Error()) > 200 {
			t.Errorf("%T: %.20q: %v, %v", v, bad, v, err)
		}
	}
}

func checkTextOf[T textType, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, v T) {
	t.Helper()
	marshalled, err := v.MarshalText()
	if err != nil || string(marshalled) != v.String() {
		t.Errorf("%v marshals as %q, %v", v, marshalled, err)
	}
	appended, err := v.AppendText([]byte("x"))
	if err != nil || string(appended) != "x"+v.String() {
		t.Errorf("%v appends %q, %v", v, appended, err)
	}
	// Nothing in it has to be escaped.
	if quoted, err := json.Marshal(v.String()); err != nil || string(quoted) != `"`+v.String()+`"` {
		t.Errorf("%v is %s in JSON", v, quoted)
	}
	for _, text := range []string{v.String(), strings.ToLower(v.String()), " " + strings.ToUpper(v.String()) + "\n"} {
		var back T
		if err := P(&back).UnmarshalText([]byte(text)); err != nil || back != v {
			t.Errorf("%q is %v again, %v", text, back, err)
		}
	}
}

// Every value of every type comes back from its text, those without a name as well.
func TestText(t *testing.T) {
	checkText[Family](t, 255)
	checkText[Protocol](t, 1000)
	checkText[TimerKind](t, 255)
	checkText[Shutdown](t, 255)
	checkText[TLSConf](t, 1000)
	checkText[CAState](t, 255)
	checkText[FastOpenFailure](t, 255)
	checkText[ECNMode](t, 255)
	checkText[AccECNOption](t, 1000)
	checkText[TCPOptions](t, 255)
	checkText[AccECNFailure](t, 1000)
	checkText[SocketOptions](t, 1000)
	checkText[NoticeKind](t, 255)
	checkText[SCTPState](t, 1000)
	checkText[SCTPEndpointState](t, 255)
	checkText[SCTPPathState](t, 1000)
	checkText[SCTPCapabilities](t, 255)
	checkText[MPTCPFields](t, 255)
	checkText[MPTCPFlags](t, 1000)
	for bit := uint32(1); bit != 0; bit <<= 1 {
		checkTextOf(t, MPTCPFlags(bit))
		checkTextOf(t, SocketOptions(bit))
		checkTextOf(t, AccECNFailure(bit))
		checkTextOf(t, Protocol(bit-1))
		checkTextOf(t, SCTPState(bit-1))
	}
	checkText[Attrs](t, 1000)
	for bit := Attrs(1); bit != 0; bit <<= 1 {
		checkTextOf(t, bit)
		checkTextOf(t, ^bit)
	}

	// The texts are what String prints: as examples, not only as an inverse.
	for text, v := range map[string]encoding.TextMarshaler{
		"IPv6": IPv6, "UDPLite": UDPLite, "COOKIE_WAIT": SCTPCookieWait, "LISTENING": SCTPEndpointListening, "PF": SCTPPathPotentiallyFailed,
		"Auth|IPv4": SCTPAuth | SCTPIPv4, "Fallback|MPTCPFlags(9)": MPTCPFallback | 1<<9, "Protocol(0)": Protocol(0), "time-wait": TimerTimeWait, "recv|send": ShutdownRecv | ShutdownSend,
		"none": Shutdown(0), "MemInfo|Attr(40)": AttrMemInfo | 1<<40, "Freebind|SocketOptions(15)": SockOptFreebind | 1<<15,
		"Timestamps|SACK": OptTimestamps | OptSACK,
	} {
		if got, err := v.MarshalText(); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
}

// Appending takes no memory but the buffer's for what has a name.
func TestAppendTextAllocs(t *testing.T) {
	b := make([]byte, 0, 1000)
	sets := TCPOptions(0xff)
	options := SocketOptions(0x7ff)
	attrs := allAttrs
	if n := testing.AllocsPerRun(10, func() {
		out, _ := sets.AppendText(b)
		out, _ = options.AppendText(out)
		out, _ = attrs.AppendText(out)
		out, _ = TimerKeepalive.AppendText(out)
		_, _ = TCP.AppendText(out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
