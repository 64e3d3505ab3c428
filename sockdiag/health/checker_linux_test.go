package health_test

import (
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

// What happens between two looks is known to the second, and to those that follow
// within ten seconds.
func TestCheckerRemembers(t *testing.T) {
	in(t, func(s *scene) {
		s.set("ipv4/tcp_tw_reuse", "0")
		s.set("ipv4/tcp_max_tw_buckets", "100")
		l := s.listen(server, 100)
		c, err := sockdiag.Dial(nil)
		s.must("dial", err)
		defer c.Close()
		checker := health.NewChecker(c, health.Options{MaxAge: 1})
		var first, last time.Time
		look := func() []health.Finding {
			t.Helper()
			r, err := checker.Check(t.Context())
			s.must("check", err)
			checkFindings(t, r.Findings)
			if first.IsZero() {
				first = r.Time
			}
			last = r.Time
			return r.Findings
		}
		want(t, look(), health.BucketOverflow, health.OK)
		s.set("ipv4/tcp_max_tw_buckets", "0")
		s.timeWaits(l, 2)
		s.set("ipv4/tcp_max_tw_buckets", "100")
		want(t, look(), health.BucketOverflow, health.Critical, "2 connections")
		late := last.Sub(first) >= 10*time.Second // a very slow machine: this is the next one's past
		again := look()
		if !late {
			want(t, again, health.BucketOverflow, health.Critical, "2 connections")
		}
	})
}
