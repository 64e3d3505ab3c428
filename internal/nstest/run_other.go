//go:build !linux

package nstest

import "testing"

// Run is m.Run: only Linux has network namespaces.
func Run(m *testing.M) int {
	outside = "not Linux"
	return m.Run()
}
