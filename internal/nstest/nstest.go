// Package nstest is the ground that tests with real sockets stand on: a network namespace of their own, every TCP
// state made for real on loopback, and threads without privilege. Only tests import it.
//
// A package whose tests need sockets has
//
//	func TestMain(m *testing.M) { nstest.Main(m) }
//
// and its tests then have the namespace to themselves, so that they may count sockets and change sysctls.
package nstest

import (
	"os"
	"testing"
)

// outside says why the tests do not run in a network namespace of their own. It is empty where they do, and is set
// once, by Run, before any test runs.
var outside = "TestMain does not call nstest.Main"

// Main runs the tests of m in a network namespace of their own and ends the process with their status. See Run.
func Main(m *testing.M) { os.Exit(Run(m)) }

// RequireNamespace skips the test (see Skip) where the tests could not be given a network namespace of their own.
func RequireNamespace(t testing.TB) {
	t.Helper()
	if outside != "" {
		Skip(t, "a network namespace of its own: %s", outside)
	}
}

// Skip ends a test for which this machine lacks something. The format and its arguments name what is missing. With
// TIMEWAIT_REQUIRE=1 in the environment the test fails instead: whoever sets it says that this machine has it all.
func Skip(t testing.TB, missing string, args ...any) {
	t.Helper()
	if os.Getenv("TIMEWAIT_REQUIRE") == "1" {
		t.Fatalf("TIMEWAIT_REQUIRE=1, but missing: "+missing, args...)
	}
	t.Skipf("missing: "+missing, args...)
}

// Set writes a setting of the calling thread's namespace, such as "ipv4/tcp_fin_timeout".
func Set(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value+"\n"), 0); err != nil {
		t.Fatal(err)
	}
}
