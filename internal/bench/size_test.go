package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSizes(t *testing.T) {
	got, err := parseSizes("1k,250,10k,1M,1500")
	if want := []size{1000, 250, 10_000, 1_000_000, 1500}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, error %v; want %v", got, err, want)
	}
	for size, text := range map[size]string{1000: "1k", 250: "250", 1500: "1500", 100_000: "100k", 2_000_000: "2M"} {
		if size.String() != text {
			t.Errorf("%d is %s, want %s", int(size), size, text)
		}
	}
	for _, list := range []string{"", "k", "1K", "-1k", "1.5k", "1k,", "199", "11M", "10000001", "4294967295M", "1k,1000", "1k,2k,1k"} {
		if got, err := parseSizes(list); err == nil {
			t.Errorf("%q: %v", list, got)
		}
	}
}

// The sockets of each scene are as many as its size says, and those in the lead
// are the greater part.
func TestScenes(t *testing.T) {
	both := []operation{{name: "a"}, {name: "b", timeWait: true}}
	all := scenes([]size{minSize, 1010, 100 * k, m}, append(both, operation{name: "c", apart: true}))
	var names []string
	for _, s := range all {
		names = append(names, s.String())
		established := 2 * s.connections()
		if s.Apart {
			if established != int(s.Size) || s.timeWaits() != 0 {
				t.Errorf("%v: %d ESTABLISHED and %d TIME_WAIT", s, established, s.timeWaits())
			}
			continue
		}
		if established+s.timeWaits() != int(s.Size) || established == 0 || s.timeWaits() == 0 {
			t.Errorf("%v: %d ESTABLISHED and %d TIME_WAIT", s, established, s.timeWaits())
		}
		if (s.timeWaits() > 3*established) != s.TimeWait || (established > 3*s.timeWaits()) == s.TimeWait {
			t.Errorf("%v: %d ESTABLISHED and %d TIME_WAIT", s, established, s.timeWaits())
		}
	}
	want := "200; 200, most in TIME_WAIT; 200, each to another; 1010; 1010, most in TIME_WAIT; 1010, each to another; " +
		"100k; 100k, most in TIME_WAIT; 100k, each to another; 1M; 1M, each to another"
	if got := strings.Join(names, "; "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := scenes([]size{k}, both[1:]); !slices.Equal(got, []scene{{Size: k, TimeWait: true}}) {
		t.Errorf("%v, though nothing is asked where ESTABLISHED dominates", got)
	}
}
