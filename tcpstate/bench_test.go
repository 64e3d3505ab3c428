package tcpstate_test

import (
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

func BenchmarkParse(b *testing.B) {
	for _, text := range []string{"TIME_WAIT", "fin-wait-2", "ESTAB", "State(42)"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tcpstate.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkString(b *testing.B) {
	for _, state := range []tcpstate.State{tcpstate.TimeWait, 42} {
		b.Run(state.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if state.String() == "" {
					b.Fatal("no name")
				}
			}
		})
	}
}

func BenchmarkParseSet(b *testing.B) {
	for _, text := range []string{"time-wait", "time-wait,fin-wait-2,close-wait", "connected"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if set, err := tcpstate.ParseSet(text); err != nil || set == 0 {
					b.Fatal(set, err)
				}
			}
		})
	}
}

func BenchmarkSetString(b *testing.B) {
	set := tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2, tcpstate.CloseWait)
	b.ReportAllocs()
	for b.Loop() {
		if set.String() == "" {
			b.Fatal("no names")
		}
	}
}
