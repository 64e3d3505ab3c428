//go:build !linux

package owner_test

import (
	"errors"
	"testing"

	"github.com/seed16c515c6/timewait/sockdiag/owner"
)

func TestUnsupported(t *testing.T) {
	if _, err := owner.Find(t.Context(), 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
