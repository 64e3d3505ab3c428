package sysctl_test

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// split is the reference for what separates values: one newline may end the text, tabs and spaces stand between.
func split(text string) []string {
	var values []string
	for value := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\t", " "), " ") {
		if value != "" {
			values = append(values, value)
		}
	}
	return values
}

func mustBeParseError(t *testing.T, text string, err error) {
	t.Helper()
	var perr *sysctl.ParseError
	if !errors.As(err, &perr) || perr.Text != text {
		t.Fatalf("%q: %v, want a *ParseError with that text", text, err)
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"60\n", "-1\n", "", " 7200\t\n", "9223372036\n", "9223372037\n", "1e3", "+5", "60 61"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := sysctl.TCPFinTimeout.GetFS(with("net/ipv4/tcp_fin_timeout", text))

		// The reference is integers without a limit.
		var want *big.Int
		if values := split(text); len(values) == 1 {
			if seconds, ok := new(big.Int).SetString(values[0], 10); ok {
				want = seconds.Mul(seconds, big.NewInt(int64(time.Second)))
			}
		}
		if want == nil || !want.IsInt64() {
			mustBeParseError(t, text, err)
			return
		}
		if err != nil || int64(got) != want.Int64() {
			t.Fatalf("%q = %d ns, %v, want %v ns", text, int64(got), err, want)
		}
	})
}

func FuzzPortRange(f *testing.F) {
	for _, text := range []string{"32768\t60999\n", "1 1", "60999 32768\n", "0\t65536\n", "1\t2\t3\n", "-1 1\n", "\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const path = "net/ipv4/ip_local_port_range"
		got, err := sysctl.IPLocalPortRange.GetFS(with(path, text))
		if err != nil {
			mustBeParseError(t, text, err)
			return
		}
		if got.First > got.Last {
			t.Fatalf("%q = %v, whose ends are in the wrong order", text, got)
		}
		values := split(text)
		if len(values) != 2 {
			t.Fatalf("%q = %v, but has %d values", text, got, len(values))
		}
		for i, port := range []uint16{got.First, got.Last} {
			if strings.TrimLeft(values[i], "0") != strings.TrimLeft(fmt.Sprint(port), "0") {
				t.Fatalf("%q = %v", text, got)
			}
		}
		if back, err := sysctl.IPLocalPortRange.GetFS(with(path, fmt.Sprintf("%d\t%d\n", got.First, got.Last))); back != got {
			t.Fatalf("%q = %v, which written as the kernel does reads as %v, %v", text, got, back, err)
		}
	})
}
