// Package plan is what the runner of the kernels and its guest agree on.
package plan

import "time"

// Path is the file of the guest that holds its Plan, as JSON.
const Path = "/plan.json"

// Port is the serial port that the guest reports on: the output of the tests,
// and among it Messages. The kernel's own messages go to the console.
const Port = "/dev/ttyS1"

// Mark begins a Message: JSON to the end of the line, as in RFC 7464.
const Mark = '\x1e'

// Plan is what a guest does.
type Plan struct {
	// Modules are files of the kernel to load, in this order.
	Modules []string
	Tests   []Test
	// Args are for every test binary.
	Args []string
	// Limit is for all the tests together.
	Limit time.Duration
}

// Test is one test binary. It runs in the folder it stands in.
type Test struct {
	Package string // path below the module
	Binary  string
}

// Message is what the guest says about itself. One field, or Code with End, is
// set.
type Message struct {
	// Kernel is the release of the kernel, in the first message.
	Kernel string `json:",omitempty"`
	// Problem is something that the guest could not do.
	Problem string `json:",omitempty"`
	// Begin and End are the Package of a test that starts or has ended.
	Begin string `json:",omitempty"`
	End   string `json:",omitempty"`
	// Code is the exit status of the test that ended, -1 without one.
	Code int `json:",omitempty"`
	// Done is in the last message.
	Done bool `json:",omitempty"`
}
