package sysctl_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
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

func FuzzPorts(f *testing.F) {
	for _, text := range []string{"\n", "", "0\n", "0-5\n", "1-3,5\n", "8080,9000-9010\n", "65535\n", "65536", "9-8", "2,1", "1,,2", "1-2-3", "1, 2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const path = "net/ipv4/ip_local_reserved_ports"
		got, err := sysctl.IPLocalReservedPorts.GetFS(with(path, text))
		if err != nil {
			mustBeParseError(t, text, err)
			return
		}
		// The reference is a bit for each port, set by reading the text another way.
		var want [1 << 16]bool
		for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
			var first, last int
			if n, _ := fmt.Sscanf(strings.Replace(part, "-", " ", 1), "%d %d", &first, &last); n == 1 {
				last = first
			} else if n != 2 {
				t.Fatalf("%q = %v, but %q is no port", text, got, part)
			}
			for port := first; port <= last; port++ {
				want[port] = true
			}
		}
		want[0] = false
		n := 0
		for port, in := range want {
			if got.Has(uint16(port)) != in {
				t.Fatalf("%q = %v, Has(%d) = %v", text, got, port, !in)
			}
			if in {
				n++
			}
		}
		if got.Len() != n {
			t.Fatalf("%q = %v, Len() = %d, want %d", text, got, got.Len(), n)
		}
		back, err := sysctl.IPLocalReservedPorts.GetFS(with(path, got.String()+"\n"))
		if err != nil || !slices.Equal(back, got) {
			t.Fatalf("%q = %v, which reads back as %v, %v", text, got, back, err)
		}
	})
}

// number reads an integer without a limit, and returns nil unless a type of so many bits holds it.
func number(text string, bits int, signed bool) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || !signed && strings.ContainsAny(text, "+-") {
		return nil
	}
	if signed {
		bits--
	}
	limit := new(big.Int).Lsh(big.NewInt(1), uint(bits)) // 2^63, 2^64, …
	if n.Cmp(limit) >= 0 || n.Cmp(limit.Neg(limit)) < 0 {
		return nil
	}
	return n
}

// fuzzTriple fuzzes a key of three numbers.
func fuzzTriple[T fmt.Stringer](f *testing.F, key sysctl.Key[T], signed bool) {
	for _, text := range []string{
		"4096\t131072\t33554432\n", "0 0 0", "3\t2\t1\n", "-1 1 1", "1 1", "1 1 1 1", "18446744073709551615 9223372036854775808 1\n", "+1 1 1", "", "1\n1 1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := key.GetFS(with(key.Info().Path, text))
		values := split(text)
		var want []string
		for _, value := range values {
			if n := number(value, 64, signed); n != nil {
				want = append(want, n.String())
			}
		}
		if len(values) != 3 || len(want) != 3 {
			mustBeParseError(t, text, err)
			return
		}
		if err != nil || got.String() != strings.Join(want, " ") {
			t.Fatalf("%q = %v, %v, want %v", text, got, err, want)
		}
	})
}

func FuzzPageTriple(f *testing.F) { fuzzTriple(f, sysctl.TCPMem, false) }

func FuzzByteTriple(f *testing.F) { fuzzTriple(f, sysctl.TCPRmem, true) }

func FuzzHashTable(f *testing.F) {
	for _, text := range []string{"4096\n", "-4096\n", "0\n", "-0", "2147483647", "-2147483647", "-2147483648", "2147483648", "", "1 1", "+7"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := sysctl.TCPEhashEntries.GetFS(with("net/ipv4/tcp_ehash_entries", text))
		var want *big.Int
		if values := split(text); len(values) == 1 {
			want = number(values[0], 32, true)
		}
		if want == nil || want.Int64() == math.MinInt32 {
			mustBeParseError(t, text, err)
			return
		}
		n := int64(got.Buckets)
		if got.Shared {
			n = -n
		}
		if err != nil || n != want.Int64() || got.Buckets < 0 || got.Shared && n == 0 {
			t.Fatalf("%q = %+v, %v, want %v", text, got, err, want)
		}
	})
}

// The bits of a mask are those of its text.
func FuzzFastOpen(f *testing.F) {
	for _, n := range []int32{0, 1, 3, 0x603, -1, 0x18, math.MinInt32, math.MaxInt32} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int32) {
		got, err := sysctl.TCPFastOpen.GetFS(with("net/ipv4/tcp_fastopen", fmt.Sprintln(n)))
		if err != nil || int32(got) != n {
			t.Fatalf("%d = %d, %v", n, int(got), err)
		}
		names := map[string]uint32{"off": 0, "client": 1, "server": 2, "client no cookie": 4, "server no cookie": 0x200, "server all": 0x400}
		var bits uint32
		for part := range strings.SplitSeq(got.String(), "|") {
			bit, ok := names[part]
			if !ok {
				if _, err := fmt.Sscanf(part, "0x%x", &bit); err != nil {
					t.Fatalf("%d prints %q", n, got)
				}
			}
			if bits&bit != 0 {
				t.Fatalf("%d prints %q, a bit twice", n, got)
			}
			bits |= bit
		}
		if bits != uint32(n) {
			t.Fatalf("%#x prints %q", uint32(n), got)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, text := range []string{"cubic\n", "bbr", "", "\n", "a b", "\tx ", "x\n\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := sysctl.TCPCongestionControl.GetFS(with("net/ipv4/tcp_congestion_control", text))
		if values := split(text); len(values) != 1 {
			mustBeParseError(t, text, err)
		} else if err != nil || got != values[0] {
			t.Fatalf("%q = %q, %v", text, got, err)
		}
	})
}
