package health_test

import (
	"testing"

	"github.com/seed16c515c6/timewait/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }
