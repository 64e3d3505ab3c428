package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

// words are what stands behind the ends in a row of -i, by name; a word without a
// value is its own. Theirs have the unit of some rates behind a space.
func infoWords(row string) map[string]string {
	m := map[string]string{}
	fields := strings.Fields(row)
	for i := 5; i < len(fields); i++ {
		name, value, ok := strings.Cut(fields[i], ":")
		if strings.HasPrefix(value, "(") {
			continue // what the algorithm says of itself, under its name
		}
		if !ok && i+1 < len(fields) && strings.HasSuffix(fields[i+1], "bps") {
			i++
			value = fields[i]
		}
		m[name] = value
	}
	return m
}

// numbers are those in a value, milliseconds as they are and rates in bits.
func numbers(t *testing.T, value string) (n []float64) {
	t.Helper()
	for part := range strings.SplitSeq(strings.TrimSuffix(value, "ms"), "/") {
		scale := 1.0
		if rest, ok := strings.CutSuffix(part, "bps"); ok {
			part = strings.TrimRight(rest, "kMGT")
			scale = map[string]float64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[rest[len(part):]]
		}
		f, err := strconv.ParseFloat(part, 64)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		n = append(n, f*scale)
	}
	return n
}

// What -i chooses has the values that ss -i has.
func TestInfoOfSS(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		scene(t)
		for _, family := range nstest.Families {
			nstest.Many(t, family, 20, 0)
		}
		// Clocks that run on.
		running := []string{"lastsnd", "lastrcv", "lastack", "busy", "rwnd_limited", "sndbuf_limited"}
		byEnds := func(text string) map[string]map[string]string {
			m := map[string]map[string]string{}
			for _, row := range rows(text) {
				if fields := strings.Fields(row); fields[0] != "BOUND-INACTIVE" {
					m[fields[0]+" "+fields[3]+" "+fields[4]] = infoWords(row)
				}
			}
			return m
		}
		same := func(a, b map[string]string) bool {
			for name, value := range a {
				if b[name] != value && !slices.Contains(running, name) {
					return false
				}
			}
			return len(a) == len(b)
		}
		compared, seen := map[string]bool{}, map[string]int{}
		for range 200 {
			before, ours, after := byEnds(ss(t, "-HtaniO")), byEnds(clitest.Output(t, run, "-HtaniO")), byEnds(ss(t, "-HtaniO"))
			for ends, theirs := range before {
				if compared[ends] || ours[ends] == nil || !same(theirs, after[ends]) {
					continue
				}
				compared[ends] = true
				for name := range ours[ends] {
					seen[name]++
				}
				compareInfo(t, ends, theirs, ours[ends], running)
			}
			if len(compared) == len(before) {
				break
			}
		}
		if len(compared) < 150 {
			t.Errorf("only %d sockets held still", len(compared))
		}
		for _, name := range []string{
			"rtt", "minrtt", "rto", "mss", "pmtu", "cwnd", "bytes_sent", "bytes_acked", "bytes_received", "segs_out", "segs_in",
			"pacing_rate", "delivery_rate", "app_limited", "lastsnd", "lastrcv", "lastack", "snd_wnd", "notsent", "busy", "rwnd_limited",
		} {
			if seen[name] == 0 {
				t.Errorf("%s was not compared", name)
			}
		}
	})
}

func compareInfo(t *testing.T, ends string, theirs, ours map[string]string, running []string) {
	t.Helper()
	if strings.HasPrefix(ends, "LISTEN") {
		if len(ours) != 1 {
			t.Errorf("%s: %v, want the algorithm alone", ends, ours)
		}
		return
	}
	for name, value := range ours {
		if name == "ca" {
			continue // ss does not say it
		}
		want, ok := theirs[name]
		switch {
		case !ok && name == "snd_wnd" && value == "0":
			// ss leaves out that the peer's window is closed.
		case !ok || (value == "") != (want == ""):
			t.Errorf("%s: %s %q, ss has %q", ends, name, value, want)
		case value == "" || slices.Contains(running, name):
		default:
			a, b := numbers(t, value), numbers(t, want)
			precision := 1e-5
			if strings.HasSuffix(value, "bps") {
				precision = 0.5e-2
			}
			if !slices.EqualFunc(a, b, func(a, b float64) bool { return math.Abs(a-b) <= precision*math.Abs(b) }) {
				t.Errorf("%s: %s is %s, ss has %s", ends, name, value, want)
			}
		}
	}
	// And nothing of the choice is missing.
	for name, want := range theirs {
		chosen := slices.Contains(strings.Split("rtt minrtt rto backoff mss pmtu cwnd ssthresh bytes_sent bytes_retrans bytes_acked bytes_received "+
			"segs_out segs_in delivery_rate app_limited retrans unacked lost sacked dsack_dups reord_seen rcv_ooopack notsent rcv_rtt snd_wnd", " "), name)
		if _, ok := ours[name]; chosen && !ok {
			t.Errorf("%s: no %s, ss has %q", ends, name, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 204 * time.Millisecond: "204ms", 204999 * time.Microsecond: "204ms", time.Second: "1sec", 4200 * time.Millisecond: "4.200sec", 9001 * time.Millisecond: "9.001sec",
		10500 * time.Millisecond: "10sec", time.Minute: "1min", 100*time.Second + 5*time.Millisecond: "1min40sec", 9*time.Minute + 59*time.Second: "9min59sec",
		10*time.Minute + 59*time.Second: "10min", 119 * time.Minute: "119min",
	} {
		if got := string(appendLeft(nil, d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestRates(t *testing.T) {
	for rate, want := range map[uint64]string{
		1: "8bps", 124: "992bps", 125: "1kbps", 187_500: "1.5Mbps", 124_937_500: "1Gbps", 125_000_000: "1Gbps", 16_875_000_000: "135Gbps", 999_999_999_999_999: "8e+03Tbps",
	} {
		var w words
		if w.rate("", rate); string(w.b) != ":"+want {
			t.Errorf("%d bytes/s: %q, want %q", rate, w.b, want)
		}
	}
}
