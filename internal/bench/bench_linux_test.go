package main

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Who saw other sockets than the floor has not answered, however fast.
func TestCompareRows(t *testing.T) {
	with := func(contender string, rows int) runResult {
		return runResult{Contender: contender, sample: sample{Rows: rows}}
	}
	broken := with("broken", 0)
	broken.Failure = "broken"
	none, some := with("none, as it should be", 0), with("some, though there are none", 3)
	none.wantNoRow()
	some.wantNoRow()
	runs := []runResult{with("same", 10), with("floor", 10), with("fewer", 9), with("more", 11), with("cannot tell", -1), broken, none, some}
	compareRows(runs, "floor")
	for i, want := range []string{"", "", "it saw 9 sockets, and the floor 10", "it saw 11 sockets, and the floor 10", "", "broken", "", "it saw 3 sockets, and there should be none"} {
		if runs[i].Failure != want {
			t.Errorf("%s: %q, want %q", runs[i].Contender, runs[i].Failure, want)
		}
	}
	runs = []runResult{broken, with("a", 1)}
	compareRows(runs, "broken")
	if runs[1].Failure != "" {
		t.Errorf("of a broken floor: %q", runs[1].Failure)
	}
}

// The first operation is not measured, unless it shall be.
func TestSampleOf(t *testing.T) {
	for _, tt := range []struct {
		ops   int
		cold  bool
		calls int
	}{{4, false, 5}, {4, true, 4}} {
		calls := 0
		var hold [][]byte
		s, err := sampleOf(func() (int, error) {
			calls++
			if calls == 1 && !tt.cold {
				for range 1000 {
					hold = append(hold, make([]byte, 100))
				}
			}
			time.Sleep(time.Millisecond)
			return calls, nil
		}, tt.ops, tt.cold)
		if err != nil || calls != tt.calls || s.Rows != calls || s.NS < 1e6 || s.CPU <= 0 || s.PeakRSS < 1000 || s.Allocs > 200 {
			t.Errorf("%+v: %d calls, %+v, error %v; %d kept", tt, calls, s, err, len(hold))
		}
	}
	broken := errors.New("broken")
	for _, cold := range []bool{false, true} {
		if _, err := sampleOf(func() (int, error) { return 0, broken }, 1, cold); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
}

// Each contender that measures itself is one.
func TestPeers(t *testing.T) {
	for _, op := range operations {
		for _, c := range op.contenders {
			if c.program == programPeer && peers[c.args[0]] == nil {
				t.Errorf("%s: there is no peer %s", op.key(c), c.args[0])
			}
		}
	}
}

// Who is not root is told what is missing. Root tests it as somebody else.
func TestNotRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestNotRoot$", "-test.v")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNotRoot") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	err := run(t.Context(), []string{"-sizes", "1k"}, nil, nil)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "root") {
		t.Error(err)
	}
}

func TestLacks(t *testing.T) {
	if why := lacks(scene{Size: math.MaxInt32}); !strings.Contains(why, "GB of memory") {
		t.Errorf("for 2^31 sockets: %q", why)
	}
	if why := lacks(scene{Size: k}); why != "" {
		t.Errorf("for 1k sockets: %q", why)
	}
}
