package sockdiag

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// obliging answers a request with itself.
type obliging struct{ transport }

func (obliging) Exchange(request, answer []byte) (n int, ok bool, err error) {
	return copy(answer, request), true, nil
}

// Who asks one question after the other leaves others a turn, too.
func TestTurnOfSingles(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	c := conn{transport: obliging{}, buf: make([]byte, minBuffer)}
	var ran atomic.Bool
	go func() { ran.Store(true) }()
	r := request{typ: uapi.SockDiagByFamily}
	for asked := 0; !ran.Load(); asked++ {
		if asked == turnSingles {
			t.Fatal("nobody else has a turn")
		}
		if err := c.ask(&r); err != nil {
			t.Fatal(err)
		}
	}
}

// The time that a dump has left to others does not count as its own: it would leave
// them all there is after each batch, and take hundreds of times as long.
func TestTurnOfOthers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	late := 0
	for deadline := time.Now().Add(20 * time.Second); ; {
		if time.Now().After(deadline) {
			t.Fatal("nobody else has a turn")
		}
		c := &conn{batches: turnBatches - 1}
		var ended atomic.Pointer[time.Time]
		go func() {
			begin := time.Now()
			for time.Since(begin) < time.Millisecond {
			}
			now := time.Now()
			ended.Store(&now)
		}()
		before := ended.Load()
		c.takeTurn()
		end := ended.Load()
		if before != nil || end == nil {
			continue // not the turn that was meant
		}
		if !c.turned.Before(*end) {
			return
		}
		if late++; late == 3 { // once, the turn could have ended just before
			t.Fatalf("the next turn is counted from %v before the end of this", end.Sub(c.turned))
		}
	}
}
