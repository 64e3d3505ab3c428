package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// testReport is of four operations and two sizes: something is missing, something
// failed, something is not measured of so many, promises are broken, and one is kept by
// the walk alone.
func testReport() *report {
	ask := operation{name: "Ask", contenders: []contender{
		floor(), ours(1.1, 0, "ask"), {name: "ss", program: "ss"}, {name: "slow", program: "peer", most: k},
	}}
	rest := operation{name: "Rest", timeWait: true, contenders: []contender{floor(), ours(1.1, 1.05, "rest")}}
	count := operation{name: "Count", timeWait: true, contenders: []contender{floor(), walk(tcpstate.SynSent.Set()), countAll(0.04, 0.03)}}
	more := count
	more.name = "More"
	with := func(r runResult, allocs float64, rss int64) runResult {
		r.Allocs, r.PeakRSS = allocs, rss
		return r
	}
	absent, broken, unlike := result("Ask", "ss", 0, 0, 0), result("Ask", "slow", 0, 0, 0), result("Ask", "slow", 1, 0, 0)
	absent.Missing, broken.Failure, unlike.Failure = true, "exit status 1", "exit status 1"
	return &report{
		Date: time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC), Command: "go run . -reps 2", Kernel: "6.1.2", Arch: "amd64", CPUs: 4,
		Go: "go1.25.1", LoadBefore: "0.50", LoadAfter: "1.50", Repetitions: 2, Skipped: []string{"1M: no room"},
		Scenes: []sceneReport{
			{scene: scene{Size: k}, Table: sysctl.HashTable{Buckets: 8}, Runs: []runResult{
				result("Ask", "floor", 0, 100e3, 1), with(result("Ask", "timewait", 0, 120e3, 4), 1, 1024), absent, broken,
				result("Ask", "floor", 1, 200e3, 1), with(result("Ask", "timewait", 1, 320e3, 4), 2, 3072), absent, unlike,
			}},
			{scene: scene{Size: k, TimeWait: true}, Runs: []runResult{
				result("Rest", "floor", 0, 1000, 1), with(result("Rest", "timewait", 0, 50, 1), 0, 10240),
			}},
			{scene: scene{Size: 10 * k}, Runs: []runResult{
				result("Ask", "floor", 0, 100, 2), with(result("Ask", "timewait", 0, 12345, 2), 1234567, 204800),
			}},
			{scene: scene{Size: 10 * k, TimeWait: true}, Runs: []runResult{
				result("Count", "floor", 0, 1e6, 1), result("Count", "the walk, no row", 0, 1e5, -1), with(result("Count", "timewait", 0, 124e3, 1), 0, 1024),
				result("More", "floor", 0, 1e6, 1), result("More", "the walk, no row", 0, 1e5, -1), with(result("More", "timewait", 0, 126e3, 1), 0, 1024),
			}},
		},
		operations: []operation{ask, rest, count, more},
	}
}

func TestReport(t *testing.T) {
	const want = "5 November 2026, Linux 6.1.2, amd64, 4 CPUs, go1.25.1, load 0.50 before and 1.50 after:\n" +
		"`go run . -reps 2`\n" + `
Times as multiples of the floor's: medians of 2 paired runs (and their quartiles).

| operation | contender | promise | 1k | 10k |
| --- | --- | --: | --: | --: |
| Ask | floor |  | 1.00 (0.83–1.17) | 1.00 (1.00–1.00) |
|  | timewait | ≤ 1.10 | **1.40 (1.30–1.50)** | **123 (123–123)** |
|  | ss |  | not installed |  |
|  | slow |  | failed |  |
| Rest | floor |  | 1.00 (1.00–1.00) |  |
|  | timewait | ≤ 1.10, goal 1.05 | 0.050 (0.050–0.050) |  |
| Count | floor |  |  | 1.00 (1.00–1.00) |
|  | the walk, no row |  |  | 0.10 (0.10–0.10) |
|  | timewait | ≤ 0.040 or 1.25 × the walk, goal 0.030 |  | 0.12 (0.12–0.12) |
| More | floor |  |  | 1.00 (1.00–1.00) |
|  | the walk, no row |  |  | 0.10 (0.10–0.10) |
|  | timewait | ≤ 0.040 or 1.25 × the walk, goal 0.030 |  | **0.13 (0.13–0.13)** |

In bold what misses its promise; that of fewer than 10k sockets is the floor and 50 µs.

Allocations of a call, and the peak of the resident set:

| operation | contender | 1k | 10k |
| --- | --- | --: | --: |
| Ask | timewait | 2, 3.00 MB | 1234567, 200 MB |
|  | slow | failed |  |
| Rest | timewait | 0, 10.0 MB |  |
| Count | timewait |  | 0, 1.00 MB |
| More | timewait |  | 0, 1.00 MB |

Failed: 1k: Ask: slow: exit status 1 (2 of 2 runs)

Skipped: 1M: no room
`
	var b strings.Builder
	r := testReport()
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	if !r.failed() {
		t.Error("nothing failed")
	}

	r.CPUTime, r.Scenes[0].Table.Shared = true, true
	b.Reset()
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nCPU times as", "\nThe table of connections was that of the host", "| 4.00 (4.00–4.00) | 1.00 (1.00–1.00) |\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\nwithout %q", b.String(), want)
		}
	}
}

// What is not installed is no failure.
func TestReportFailed(t *testing.T) {
	r := testReport()
	r.Scenes = r.Scenes[1:]
	r.Scenes[0].Runs = append(r.Scenes[0].Runs, runResult{Missing: true})
	if r.failed() {
		t.Errorf("failed: %q", r.failures())
	}
}

// The process of a scene hands its report over as JSON.
func TestSceneReportJSON(t *testing.T) {
	for _, want := range testReport().Scenes {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got sceneReport
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came as %+v, in %s", want, got, text)
		}
	}
}
