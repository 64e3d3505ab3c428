package health_test

import (
	"os"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Every state there is, in a namespace that is not the caller's: what was made is
// what is counted, and settings and counters are of that namespace.
func TestTake(t *testing.T) {
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			in(t, func(s *scene) {
				s.set("ipv4/tcp_fin_timeout", "37")
				made := nstest.States(t, family)
				took := s.take(health.Options{Owners: true})
				var want tcpstate.Counts
				var fin health.FinWait2
				closeWait := map[uint64]uint32{}
				listening := map[uint16]int{}
				for _, m := range made {
					switch {
					case m.State == tcpstate.FinWait2 && m.Timer == 3:
						fin.Mini++
					case m.State == tcpstate.FinWait2 && m.FD < 0:
						fin.Orphan++
					case m.State == tcpstate.FinWait2:
						fin.Owned++
					case m.State == tcpstate.CloseWait:
						closeWait[m.Cookie] = m.Inode
					case m.State == tcpstate.Listen:
						listening[m.Local.Port()] = m.Limit
					case m.State == tcpstate.BoundInactive && !took.Kernel.AtLeast(6, 8):
						continue
					}
					want.Add(m.State, 1)
				}
				if took.Counts != want {
					t.Errorf("counted\n%v, made\n%v", took.Counts, want)
				}
				if took.FinWait2 != fin {
					t.Errorf("FIN_WAIT2 %+v, want %+v", took.FinWait2, fin)
				}
				if int(took.CloseWaitOwned) != len(closeWait) || len(took.CloseWait) != len(closeWait) {
					t.Errorf("%d in CLOSE_WAIT, %d sampled, want %d", took.CloseWaitOwned, len(took.CloseWait), len(closeWait))
				}
				for _, c := range took.CloseWait {
					if inode, ok := closeWait[c.ID.Cookie]; !ok || inode != c.Inode || c.Since < 0 || c.Since > time.Minute {
						t.Errorf("%+v", c)
					}
					if h := took.Holders[c.Inode]; len(h) != 1 || h[0].PID != os.Getpid() {
						t.Errorf("%+v is held by %+v", c, h)
					}
				}
				for _, l := range took.Listening {
					if limit, ok := listening[l.Port]; !ok || int(l.Limit) != limit || l.Listeners != 1 {
						t.Errorf("%+v", l)
					}
				}
				if len(took.Listening) != len(listening) || len(took.Listeners) != len(listening) {
					t.Errorf("%+v, want %v", took.Listeners, listening)
				}
				if first := took.Listeners[0]; first.Queued <= first.Limit || took.FullQueues != 1 {
					t.Errorf("the fullest is %+v, %d are full", first, took.FullQueues)
				}
				if f := took.Settings.FinTimeout; f.Value != 37*time.Second || f.Default != time.Minute || !f.Known || !f.DefaultKnown {
					t.Errorf("tcp_fin_timeout %+v", f)
				}
				if r, err := sockdiag.RunningRelease(); err != nil || took.Kernel != r {
					t.Errorf("kernel %v, want %v, %v", took.Kernel, r, err)
				}
				if n, ok := took.Counter("Tcp.ActiveOpens"); !ok || n < 1 {
					t.Errorf("ActiveOpens %d, %v", n, ok)
				}
				_, err := os.Stat("/proc/thread-self/net/stat/nf_conntrack") // not without the module
				if _, ok := took.Counter("nf_conntrack.drop"); ok != (err == nil) {
					t.Errorf("nf_conntrack.drop is there: %v, its file: %v", ok, err)
				}
				if len(took.Gaps) > 0 {
					t.Errorf("gaps %q", took.Gaps)
				}
				if took.Time.IsZero() || took.Took <= 0 {
					t.Errorf("%v, %v", took.Time, took.Took)
				}
			})
		})
	}
	// And here there is nothing of all that.
	c, err := sockdiag.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	here, err := health.Take(t.Context(), c, health.Options{})
	if err != nil || here.Settings.FinTimeout.Value == 37*time.Second || here.FinWait2.Mini > 0 {
		t.Errorf("the caller's namespace: %+v, %v", here, err)
	}
}

// A Client that is closed has no namespace to read, and no sockets.
func TestTakeClosed(t *testing.T) {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		nstest.Skip(t, "sock_diag: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := health.Take(t.Context(), c, health.Options{}); s != nil || err == nil {
		t.Errorf("%v, %v", s, err)
	}
}
