package health_test

import (
	"context"
	"net/http"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

// What programs are written against. If this does not compile, theirs do not.
var (
	_ health.Source = (*sockdiag.Client)(nil)

	_ = func(ctx context.Context, c *sockdiag.Client, opts health.Options) (*health.Snapshot, error) {
		return health.Take(ctx, c, opts)
	}
	_ = func(c *sockdiag.Client, opts health.Options) *health.Checker { return health.NewChecker(c, opts) }

	_ func(before, now *health.Snapshot, t health.Thresholds) []health.Finding = health.Diagnose

	_ func(*health.Checker, context.Context) (health.Report, error) = (*health.Checker).Check

	_ http.Handler = (*health.Checker)(nil)

	_ = health.Finding{ID: "", Severity: health.Severity(0), Summary: "", Evidence: []health.Evidence{}, Why: "", Remedies: []health.Remedy{}}
)
