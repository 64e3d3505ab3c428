package owner_test

import (
	"testing"

	"github.com/seed16c515c6/timewait/sockdiag/owner"
)

func TestStrings(t *testing.T) {
	for v, want := range map[owner.Verdict]string{
		owner.NotAsked: "NotAsked", owner.NoFile: "NoFile", owner.Found: "Found", owner.NotSeen: "NotSeen", owner.Nobody: "Nobody",
		42: "Verdict(42)",
	} {
		if got := v.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	h := owner.Holder{Process: &owner.Process{PID: 12, Name: "ngi\"nx\x1b[2J"}, FD: 6}
	if got, want := h.String(), `("ngi\"nx\x1b[2J",pid=12,fd=6)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
