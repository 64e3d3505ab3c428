package health

import (
	"os"

	"github.com/seed16c515c6/timewait/internal/netns"
	"github.com/seed16c515c6/timewait/internal/procnet"
)

// readNamespace reads what /proc has about the network namespace of a descriptor.
func (s *Snapshot) readNamespace(ns int) error {
	// All settings in one visit: each one apart would enter the namespace again.
	if err := netns.Do(ns, func() error {
		s.readSys(os.DirFS("/proc/sys"))
		return nil
	}); err != nil {
		return err
	}
	r, err := procnet.Open(ns, counterFiles[:]...)
	return s.readNet(r, err)
}
