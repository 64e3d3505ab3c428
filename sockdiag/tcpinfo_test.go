package sockdiag

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// The units of the kernel's durations: include/uapi/linux/tcp.h and tcp_get_info in
// net/ipv4/tcp.c.
var tcpInfoUnits = map[string]time.Duration{
	"tcpi_rto": time.Microsecond, "tcpi_ato": time.Microsecond, "tcpi_rtt": time.Microsecond,
	"tcpi_rttvar": time.Microsecond, "tcpi_rcv_rtt": time.Microsecond, "tcpi_min_rtt": time.Microsecond,
	"tcpi_busy_time": time.Microsecond, "tcpi_rwnd_limited": time.Microsecond, "tcpi_sndbuf_limited": time.Microsecond,
	"tcpi_last_data_sent": time.Millisecond, "tcpi_last_ack_sent": time.Millisecond,
	"tcpi_last_data_recv": time.Millisecond, "tcpi_last_ack_recv": time.Millisecond,
	"tcpi_total_rto_time": time.Millisecond,
}

// fieldOf returns the field of t for a member of the kernel's struct. The names
// differ in "tcpi_", underscores and case.
func fieldOf(t *TCPInfo, member string) (reflect.Value, bool) {
	want := strings.ReplaceAll(strings.TrimPrefix(member, "tcpi_"), "_", "")
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && strings.ToLower(f.Name) == want {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// checkField compares a field with the kernel's number. noTraffic: the times since
// the last traffic must not be the kernel's.
func checkField(t *testing.T, info *TCPInfo, member string, raw uint64, noTraffic bool) {
	t.Helper()
	f, ok := fieldOf(info, member)
	if !ok {
		t.Errorf("TCPInfo has no field for %s", member)
		return
	}
	var got, want any
	switch f.Kind() {
	case reflect.Bool:
		got, want = f.Bool(), raw != 0
	case reflect.Int64:
		unit, ok := tcpInfoUnits[member]
		if !ok {
			t.Errorf("%s is no duration in the kernel", member)
		}
		d := time.Duration(raw) * unit
		switch {
		case member == "tcpi_min_rtt" && raw == 0xffffffff:
			d = 0
		case noTraffic && strings.HasPrefix(member, "tcpi_last_") && member != "tcpi_last_ack_sent":
			d = -1
		}
		got, want = time.Duration(f.Int()), d
	default:
		got, want = f.Uint(), raw
	}
	if got != want {
		t.Errorf("%s = %v, want %v", member, got, want)
	}
}

func TestTCPInfoAccECNMissing(t *testing.T) {
	var info TCPInfo
	if err := info.UnmarshalBinary(make([]byte, 280)); err != nil {
		t.Fatal(err)
	}
	if got, ok := info.AccECN(Release{6, 17, 13}); ok {
		t.Errorf("from Linux 6.17: %+v, want none", got)
	}
	if got, ok := info.AccECN(Release{6, 18, 0}); !ok || got != (AccECN{}) {
		t.Errorf("zero bytes from Linux 6.18: %+v, %t", got, ok)
	}
	if err := info.UnmarshalBinary(make([]byte, 279)); err != nil {
		t.Fatal(err)
	}
	if got, ok := info.AccECN(Release{7, 0, 0}); ok {
		t.Errorf("from 279 bytes: %+v, want none", got)
	}
}

// patternTCPInfo is a tcp_info of n bytes in which no field is zero.
func patternTCPInfo(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%250 + 1)
	}
	if n > 0 {
		b[0] = byte(tcpstate.Established)
	}
	for i := 6; i < min(n, 8); i++ {
		b[i] = 0xff // the bit-fields
	}
	return b
}

// Any length: Has is true for what lies wholly within it, and that has the value
// which the whole struct has; the rest is zero.
func TestTCPInfoLengths(t *testing.T) {
	var full TCPInfo
	full.decode(patternTCPInfo(400))
	lengths := []int{104, 120, 136, 144, 160, 168, 192, 200, 224, 232, 240, 248, 280, 400, 65535}
	for n := range 301 {
		lengths = append(lengths, n)
	}
	info := full // decoding must also clear what was there
	for _, n := range lengths {
		err := info.UnmarshalBinary(patternTCPInfo(n))
		if n == 0 {
			var decode *DecodeError
			if !errors.As(err, &decode) || *decode != (DecodeError{What: "tcp_info", Len: 0, Want: 1}) {
				t.Errorf("no bytes: error %v, want a DecodeError", err)
			}
			info.decode(nil)
			if info != (TCPInfo{}) {
				t.Errorf("decode(nil) left %+v", info)
			}
		} else if err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		for f := range Fields() {
			row := tcpInfoFields[f]
			end := int(row.off + row.size)
			switch f { // these came within a byte that was there before
			case FieldDeliveryRateAppLimited:
				end = 168 // 4.9
			case FieldFastOpenClientFail:
				end = 232 // 5.4, which has 5.5's length
			}
			if info.Has(f) != (end <= n) {
				t.Errorf("%d bytes: Has(%v) = %t", n, f, info.Has(f))
			}
			got, whole := anyField(&info, f), anyField(&full, f)
			if whole.IsZero() {
				t.Fatalf("the pattern leaves %v zero", f)
			}
			if end <= n && !got.Equal(whole) || end > n && !got.IsZero() {
				t.Errorf("%d bytes: %v = %v, whole %v", n, f, got, whole)
			}
		}
	}
}

// anyField also finds what FieldAccECN names.
func anyField(t *TCPInfo, f Field) reflect.Value {
	if f == FieldAccECN {
		return reflect.ValueOf(t.accECN)
	}
	v, _ := fieldOf(t, f.String())
	return v
}

func TestTCPInfoUnmarshalKeepsNothing(t *testing.T) {
	b := patternTCPInfo(280)
	var info TCPInfo
	if err := info.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	before := info
	clear(b)
	if info != before {
		t.Errorf("changed with the buffer: %s", cmp.Diff(before, info, cmp.AllowUnexported(TCPInfo{})))
	}
}

func TestTCPInfoFields(t *testing.T) {
	var all []Field
	for f := range Fields() {
		all = append(all, f)
		if _, ok := fieldOf(&TCPInfo{}, f.String()); !ok && f != FieldAccECN {
			t.Errorf("%v names no field of TCPInfo", f)
		}
	}
	exported := 0
	for _, f := range reflect.VisibleFields(reflect.TypeFor[TCPInfo]()) {
		if f.IsExported() {
			exported++
		}
	}
	if len(all) != exported+1 { // and FieldAccECN
		t.Errorf("%d Fields for %d fields of TCPInfo", len(all), exported)
	}
	for range Fields() {
		break // must not go on
	}
	if s := FieldRTT.String(); s != "tcpi_rtt" {
		t.Errorf("FieldRTT is %q", s)
	}
	if s := FieldRcvWnd.Since(); s != (Release{6, 2, 0}) {
		t.Errorf("tcpi_rcv_wnd since %v, want 6.2", s)
	}
	var zero, full TCPInfo
	full.decode(patternTCPInfo(280))
	for _, f := range []Field{0, Field(len(tcpInfoFields)), 255} {
		if full.Has(f) || f.Since() != (Release{}) || f.String() != fmt.Sprintf("Field(%d)", f) {
			t.Errorf("unknown Field %d: Has %t, Since %v, %v", f, full.Has(f), f.Since(), f)
		}
	}
	for f := range Fields() {
		if zero.Has(f) || !full.Has(f) {
			t.Errorf("Has(%v): zero TCPInfo %t, full %t", f, zero.Has(f), full.Has(f))
		}
	}
}

func TestTCPInfoSize(t *testing.T) {
	if n := unsafe.Sizeof(TCPInfo{}); n > 352 {
		t.Errorf("TCPInfo takes %d bytes, want at most 352", n)
	}
}

func TestTCPInfoStrings(t *testing.T) {
	for _, c := range []struct {
		v    fmt.Stringer
		want string
	}{
		{CAOpen, "Open"}, {CALoss, "Loss"}, {CAState(9), "CAState(9)"},
		{TCPOptions(0), "none"}, {OptTimestamps | OptECNSeen, "Timestamps|ECNSeen"}, {OptUsecTS | OptTFOChild, "UsecTS|TFOChild"},
		{FastOpenSYNRetransmitted, "SYNRetransmitted"}, {FastOpenFailure(4), "FastOpenFailure(4)"},
		{ECNMode(0), "Unknown"}, {ECNModePending, "Pending"}, {ECNMode(7), "ECNMode(7)"},
		{AccECNOptionCounter, "Counter"}, {AccECNOption(300), "AccECNOption(300)"},
		{AccECNFailure(0), "none"}, {AccECNFailACESend | AccECNFailOptionRecv, "ACESend|OptionRecv"},
		{AccECNFailure(1 << 15), "AccECNFailure(15)"},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("%T: %q, want %q", c.v, got, c.want)
		}
	}
	if o := OptSACK | OptECN; !o.Has(OptECN) || o.Has(OptECN|OptWScale) {
		t.Error("TCPOptions.Has is wrong")
	}
	if f := AccECNFailACERecv; !f.Has(AccECNFailACERecv) || f.Has(AccECNFailACESend) {
		t.Error("AccECNFailure.Has is wrong")
	}
	if d := micros64(math.MaxUint64); d < 0 {
		t.Errorf("micros64 overflows to %v", d)
	}
}

func TestTCPInfoDecodeAllocs(t *testing.T) {
	for _, n := range []int{104, 232, 279, 280, 400} {
		b := patternTCPInfo(n)
		var info TCPInfo
		if a := testing.AllocsPerRun(100, func() { info.decode(b) }); a != 0 {
			t.Errorf("%d bytes: %v allocations", n, a)
		}
	}
}

func BenchmarkDecodeTCPInfo(b *testing.B) {
	for _, n := range []int{280, 232} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := patternTCPInfo(n)
			var info TCPInfo
			b.ReportAllocs()
			for b.Loop() {
				info.decode(p)
			}
		})
	}
}

// FuzzTCPInfo: cutting a tcp_info short only clears what Has then denies.
func FuzzTCPInfo(f *testing.F) {
	for _, c := range loadTCPInfoCaptures(f) {
		f.Add(c.bytes, uint16(232))
	}
	f.Add(patternTCPInfo(400), uint16(279))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var full, short TCPInfo
		full.decode(b)
		for i, v := range []time.Duration{full.LastDataSent, full.LastDataRecv, full.LastAckRecv} {
			if v < 0 && v != NoTraffic {
				t.Errorf("last_* %d is %v", i, v)
			}
		}
		n := min(int(cut), len(b))
		short.decode(b[:n])
		for f := range Fields() {
			got, whole := anyField(&short, f), anyField(&full, f)
			switch {
			case short.Has(f) && !full.Has(f):
				t.Errorf("%d of %d bytes have %v", n, len(b), f)
			case !short.Has(f) && !got.IsZero():
				t.Errorf("%d of %d bytes: no %v, but %v", n, len(b), f, got)
			case short.Has(f) && !got.Equal(whole):
				// The times of a socket in CLOSE mean nothing if it has no counts.
				if full.State == tcpstate.Closed && !short.Has(FieldSegsIn) && got.Interface() == NoTraffic {
					continue
				}
				t.Errorf("%d of %d bytes: %v = %v, whole %v", n, len(b), f, got, whole)
			}
		}
	})
}
