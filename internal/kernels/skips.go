package main

import (
	"fmt"
	"path"
)

// skip is a skip that has to be: in the kernels it is for, some test that matches
// must be skipped. Any other skip is a failure, and so is one too few.
type skip struct {
	pack string
	test string // a pattern of path.Match
	// since is the first kernel in which the test must run, such as "5.14";
	// empty: there is none.
	since string
	why   string
}

var skips = []skip{
	{"sockdiag", "TestStates/*/bound", "6.8", "sockets that are only bound are not dumped"},
	{"sockdiag", "TestLookupAfterRefusedConnect", "6.8", "sockets that are only bound are not dumped"},
	{"sockdiag", "TestStates/*/bound-named", "6.8", "sockets that are only bound are not dumped"},
	{"sockdiag", "TestKernelEnumerators/INET_*", "5.11", "modules have no BTF, and inet_diag is one"},
	{"sockdiag", "TestKernelEnumerators/TLS_*", "5.11", "it is built without TLS"},
	{"sockdiag", "TestKernelEnumerators/MPTCP_*", "5.11", "it is built without MPTCP"},
	{"sockdiag", "TestKernelEnumerators/SCTP_*", "5.11", "modules have no BTF, and sctp is one"},
	{"sockdiag", "TestKernelMPTCPInfo", "5.11", "it is built without MPTCP"},
	{"sockdiag", "TestKernelSCTPInfo", "5.11", "modules have no BTF, and sctp is one"},
	{"sockdiag", "TestKernelStructures/inet_*", "5.11", "modules have no BTF, and inet_diag is one"},
	{"sockdiag", "TestKernelStructures/tcp_diag_md5sig", "5.11", "modules have no BTF, and tcp_diag is one"},
	{"tcpstate", "TestKernel/rows/FIN_WAIT2+Abort#01", "6.0", "SOCK_DESTROY refuses mini-sockets"},
	{"tcpstate", "TestKernel/rows/TIME_WAIT+Abort", "6.0", "SOCK_DESTROY refuses mini-sockets"},
	{"sockdiag", "TestKernelSocketOptions", "5.11", "modules have no BTF, and inet_diag is one"},
	{"sockdiag", "TestMixedHost/tls", "5.11", "it is built without TLS"},
	{"sockdiag", "TestMixedHost/MPTCP", "5.11", "it is built without MPTCP"},
	{"sockdiag", "TestAttributeTable/tls", "5.11", "it is built without TLS"},
	{"sockdiag", "TestAttributeTable/mptcp*", "5.11", "it is built without MPTCP"},
	{"sockdiag", "TestAttributeTable/bpf/mptcp", "5.11", "it is built without MPTCP"},
	{"sockdiag", "TestLookupMPTCP", "5.11", "it is built without MPTCP"},
	{"internal/nlsock", "TestNetNSCookie", "5.14", "there is no SO_NETNS_COOKIE"},
	{"internal/nstest", "TestDoEndsTheTest/ends", "", "it is a test of what a skip does"},
}

// in reports whether the skip is for kernels of that release.
func (s skip) in(release string) bool { return s.since == "" || older(release, s.since) }

func (s skip) matches(pack, test string) bool {
	ok, _ := path.Match(s.test, test)
	return ok && s.pack == pack
}

// older compares the first two numbers of releases, as in "6.12.117+deb12". What
// has no numbers is not older.
func older(release, than string) bool {
	var a, b struct{ major, minor int }
	if _, err := fmt.Sscanf(release, "%d.%d", &a.major, &a.minor); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(than, "%d.%d", &b.major, &b.minor); err != nil {
		return false
	}
	return a.major < b.major || a.major == b.major && a.minor < b.minor
}
