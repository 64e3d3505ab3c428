package sockdiag

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/seed16c515c6/timewait/tcpstate"
)

//go:embed testdata/tcpinfo.txt
var tcpInfoCaptures string

type tcpInfoCapture struct {
	kernel, name string
	bytes        []byte
	members      map[string]uint64 // those that are not zero
}

func loadTCPInfoCaptures(t testing.TB) []tcpInfoCapture {
	t.Helper()
	var captures []tcpInfoCapture
	for block := range strings.SplitSeq(tcpInfoCaptures, "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if strings.HasPrefix(lines[0], "#") {
			continue
		}
		c := tcpInfoCapture{members: map[string]uint64{}}
		var size int
		var digits string
		_, err1 := fmt.Sscanf(strings.ReplaceAll(lines[0], ":", " "), "socket %s %s", &c.kernel, &c.name)
		_, err2 := fmt.Sscanf(lines[1], "bytes %d %s", &size, &digits)
		b, err3 := hex.DecodeString(digits)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		c.bytes = append(b, make([]byte, size-len(b))...)
		if cpu.IsBigEndian {
			toBigEndian(c.bytes)
		}
		for word := range strings.FieldsSeq(lines[2]) {
			name, value, _ := strings.Cut(word, "=")
			v, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			c.members[name] = v
		}
		captures = append(captures, c)
	}
	return captures
}

// toBigEndian turns a tcp_info into what a big-endian kernel would have sent.
func toBigEndian(b []byte) {
	for _, row := range tcpInfoFields {
		if end := int(row.off + row.size); end <= len(b) {
			slices.Reverse(b[row.off:end])
		}
	}
	b[6] = b[6]<<4 | b[6]>>4            // snd_wscale:4, rcv_wscale:4
	b[7] = b[7]&1<<7 | b[7]&0b110>>1<<5 // delivery_rate_app_limited:1, fastopen_client_fail:2
}

// What kernels said of sockets in all sorts of states, against those kernels' BTF.
func TestTCPInfoCaptures(t *testing.T) {
	// By what the socket went through, not by its bytes.
	noTraffic := map[string]bool{
		"syn-sent": true, "established-unread1000": false, "bound-inactive": true, "closing": false,
		"listen-backlog5-queued2": true, "established-keepalive-tos-mark": false,
		"refused": true, "disconnected": true, "reset": false, "syn-recv-fastopen": true,
	}
	captures := loadTCPInfoCaptures(t)
	if len(captures) != len(noTraffic) {
		t.Errorf("%d captures, want %d", len(captures), len(noTraffic))
	}
	for _, c := range captures {
		t.Run(c.kernel+"/"+c.name, func(t *testing.T) {
			none, ok := noTraffic[c.name]
			if !ok {
				t.Fatal("nothing is known of this capture")
			}
			release, err := ParseRelease(c.kernel)
			if err != nil {
				t.Fatal(err)
			}
			var info TCPInfo
			if err := info.UnmarshalBinary(c.bytes); err != nil {
				t.Fatal(err)
			}
			for f := range Fields() {
				if has := release.Compare(f.Since()) >= 0; info.Has(f) != has {
					t.Errorf("Has(%v) = %t; it came with %v", f, info.Has(f), f.Since())
				} else if has && f != FieldAccECN {
					checkField(t, &info, f.String(), c.members[f.String()], none)
				}
			}
		})
	}
}

func TestTCPInfoSentinels(t *testing.T) {
	infos := map[string]TCPInfo{}
	for _, c := range loadTCPInfoCaptures(t) {
		var info TCPInfo
		if err := info.UnmarshalBinary(c.bytes); err != nil {
			t.Fatal(err)
		}
		infos[c.name] = info
	}

	syn := infos["syn-sent"]
	if syn.RTT != 0 || syn.MinRTT != 0 || !syn.Has(FieldMinRTT) || syn.RcvRTT != 0 {
		t.Errorf("SYN_SENT: RTT %v, MinRTT %v, RcvRTT %v; want no sample, 0", syn.RTT, syn.MinRTT, syn.RcvRTT)
	}
	if syn.RTO != time.Second || syn.SndSSThresh != SSThreshInfinite {
		t.Errorf("SYN_SENT: RTO %v, SndSSThresh %d; want 1s and infinite", syn.RTO, syn.SndSSThresh)
	}
	if syn.PacingRate != RateUnlimited || syn.MaxPacingRate != RateUnlimited {
		t.Errorf("SYN_SENT: PacingRate %d, MaxPacingRate %d; want unlimited", syn.PacingRate, syn.MaxPacingRate)
	}
	if syn.LastDataSent != NoTraffic || syn.LastDataRecv != NoTraffic || syn.LastAckRecv != NoTraffic || syn.LastAckSent != 0 {
		t.Errorf("SYN_SENT: last %v, %v, %v, %v", syn.LastDataSent, syn.LastDataRecv, syn.LastAckRecv, syn.LastAckSent)
	}
	listen := infos["listen-backlog5-queued2"]
	if listen.State != tcpstate.Listen || listen.Unacked != 2 || listen.Sacked != 5 || listen.RTO != 0 {
		t.Errorf("LISTEN: %v, queue %d of %d, RTO %v; want 2 of 5", listen.State, listen.Unacked, listen.Sacked, listen.RTO)
	}
	if reset := infos["reset"]; reset.State != tcpstate.Closed || reset.LastDataRecv != 800*time.Millisecond {
		t.Errorf("after a reset: %v, last data %v ago; want CLOSE and the connection's 800ms", reset.State, reset.LastDataRecv)
	}
	if est := infos["established-unread1000"]; est.MinRTT != 4806*time.Microsecond || est.Options.String() != "Timestamps|SACK|WScale" {
		t.Errorf("ESTABLISHED: MinRTT %v, options %v", est.MinRTT, est.Options)
	}
	if sent := infos["established-keepalive-tos-mark"]; sent.BytesSent != 1000 || sent.BytesAcked != 1001 {
		t.Errorf("1000 bytes sent: BytesSent %d, BytesAcked %d; want 1000 and the SYN more", sent.BytesSent, sent.BytesAcked)
	}
}

var (
	//go:embed testdata/bitfields.le.txt
	bitFieldsLittleEndian string
	//go:embed testdata/bitfields.be.txt
	bitFieldsBigEndian string
)

// What C compilers make of the bit-fields (testdata/bitfields.c): both byte orders
// through the functions that know the order, and this machine's through TCPInfo.
func TestTCPInfoBitFields(t *testing.T) {
	for _, order := range []struct {
		name, lines string
		bigEndian   bool
	}{
		{"little-endian", bitFieldsLittleEndian, false},
		{"big-endian", bitFieldsBigEndian, true},
	} {
		t.Run(order.name, func(t *testing.T) {
			lines := strings.Split(strings.TrimSpace(order.lines), "\n")
			if len(lines) != 14 {
				t.Fatalf("%d lines, want 14", len(lines))
			}
			for _, line := range lines {
				values, digits, _ := strings.Cut(line, " bytes ")
				b, err := hex.DecodeString(digits)
				if err != nil {
					t.Fatal(err)
				}
				native := order.bigEndian == cpu.IsBigEndian
				if at, rest, _ := strings.Cut(values, " "); at == "6" {
					checkBytes6And7(t, rest, b, order.bigEndian, native)
				} else {
					checkBytes276(t, rest, [4]byte(b), order.bigEndian, native)
				}
			}
		})
	}
}

func checkBytes6And7(t *testing.T, values string, b []byte, bigEndian, native bool) {
	var snd, rcv, limited, failure uint32
	if _, err := fmt.Sscanf(values, "snd_wscale %d rcv_wscale %d app_limited %d fastopen_fail %d", &snd, &rcv, &limited, &failure); err != nil {
		t.Fatal(err)
	}
	want := [4]uint32{snd, rcv, limited, failure}
	got := [4]uint32{
		bitField(uint32(b[0]), 8, 0, 4, bigEndian), bitField(uint32(b[0]), 8, 4, 4, bigEndian),
		bitField(uint32(b[1]), 8, 0, 1, bigEndian), bitField(uint32(b[1]), 8, 1, 2, bigEndian),
	}
	if got != want {
		t.Errorf("%x: %d, want %s", b, got, values)
	}
	if !native {
		return
	}
	whole := make([]byte, 280)
	copy(whole[6:], b)
	var info TCPInfo
	if err := info.UnmarshalBinary(whole); err != nil {
		t.Fatal(err)
	}
	app := uint32(0)
	if info.DeliveryRateAppLimited {
		app = 1
	}
	if got := [4]uint32{uint32(info.SndWScale), uint32(info.RcvWScale), app, uint32(info.FastOpenClientFail)}; got != want {
		t.Errorf("UnmarshalBinary %x: %d, want %s", b, got, values)
	}
}

func checkBytes276(t *testing.T, values string, b [4]byte, bigEndian, native bool) {
	release, values, _ := strings.Cut(values, " ")
	kernels := []Release{{6, 18, 0}, {6, 19, 14}}
	var mode, seen, failure, options2 uint32
	var want AccECN
	var err error
	if release == "7.0" {
		kernels = []Release{{7, 0, 0}, {7, 3, 4}, {9, 0, 0}}
		_, err = fmt.Sscanf(values, "ecn_mode %d opt_seen %d fail_mode %d options2 %d", &mode, &seen, &failure, &options2)
		want.Mode = []ECNMode{ECNModeDisabled, ECNModeRFC3168, ECNModeAccECN, ECNModePending}[mode]
		want.Options2 = options2
	} else {
		_, err = fmt.Sscanf(values, "fail_mode %d opt_seen %d", &failure, &seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	want.Option, want.Failure = AccECNOption(seen), AccECNFailure(failure)
	whole := make([]byte, 280)
	copy(whole[276:], b[:])
	var info TCPInfo
	if err := info.UnmarshalBinary(whole); err != nil {
		t.Fatal(err)
	}
	for _, k := range kernels {
		if got := accECNOf(b, k, bigEndian); got != want {
			t.Errorf("%x for %v: %+v, want %s", b, k, got, values)
		}
		if got, ok := info.AccECN(k); native && (!ok || got != want) {
			t.Errorf("UnmarshalBinary %x for %v: %+v, %t, want %s", b, k, got, ok, values)
		}
	}
}
