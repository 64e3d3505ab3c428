package sockdiag_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func ExampleParseFilter() {
	f, err := sockdiag.ParseFilter("dst 10/8 and (dport = :https or sport >= :1024)")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f)
	_, err = sockdiag.ParseFilter("dst example.org")
	fmt.Println(err)
	// Output:
	// dst 10.0.0.0/8 and ( dport = :443 or sport >= :1024 )
	// sockdiag: filter, column 5: "example.org", want an address, a prefix, a port behind a colon or *; names of hosts are not looked up
}

func ExampleParseQuery() {
	q, err := sockdiag.ParseQuery("state time-wait state fin-wait-2 dst 10.0.0.0/8")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(q.States)
	fmt.Println(q.Filter)
	// Output:
	// FIN_WAIT2,TIME_WAIT
	// dst 10.0.0.0/8
}

func ExampleAnd() {
	f := sockdiag.And(
		sockdiag.RemotePrefix(netip.MustParsePrefix("192.0.2.0/24")),
		sockdiag.Not(sockdiag.LocalPort(443, 443)),
	)
	fmt.Println(f)
	// Output: dst 192.0.2.0/24 and sport != :443
}

func ExampleFilter_Match() {
	s := sockdiag.Socket{Family: sockdiag.IPv4, State: tcpstate.Listen, Local: netip.MustParseAddrPort("127.0.0.1:22"), Remote: netip.MustParseAddrPort("0.0.0.0:0")}
	fmt.Println(sockdiag.LocalPort(1, 1023).Match(&s))
	fmt.Println(sockdiag.Autobound().Match(&s))
	fmt.Println(sockdiag.And(sockdiag.LocalPort(80, 80), sockdiag.Autobound()).Match(&s))
	// Output:
	// true true
	// false false
	// false true
}

func parseFilter(t *testing.T, s string) sockdiag.Filter {
	t.Helper()
	f, err := sockdiag.ParseFilter(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return f
}

// Every spelling is read as the ss of iproute2 6.1 was seen to read it, or as the
// documentation of ParseFilter says where that goes further.
func TestParseFilter(t *testing.T) {
	prefix := netip.MustParsePrefix
	all := sockdiag.Filter{}
	none := sockdiag.Or()
	src := func(p string) sockdiag.Filter { return sockdiag.LocalPrefix(prefix(p)) }
	dst := func(p string) sockdiag.Filter { return sockdiag.RemotePrefix(prefix(p)) }
	sport := func(p uint16) sockdiag.Filter { return sockdiag.LocalPort(p, p) }
	dport := func(p uint16) sockdiag.Filter { return sockdiag.RemotePort(p, p) }
	and, or, not := sockdiag.And, sockdiag.Or, sockdiag.Not
	for _, tt := range []struct {
		texts string // one a line
		want  sockdiag.Filter
	}{
		{"\n  \t \nsrc *\nsrc any\ndst all\nsrc default\nsrc *:*\nsrc :*\nsport = *\nsport :*\nnot not src any\ndport >= 0\ndport le 65535\nfwmark 0/0", all},
		{"not src *\nsrc != any\nsport != *\nsport > 65535\ndport < 0\nfwmark 2/1\n! dst any", none},
		{"src 127.0.0.1\nsrc = 127.0.0.1\nsrc == 127.0.0.1\nsrc eq 127.0.0.1\nsrc=127.0.0.1\nsrc 127.0.0.1/32\nsrc 0177.0.0.1\nsrc 0x7f.0.0.0x1\n" +
			"src 127.0.0.1:*\nsrc [127.0.0.1]\nsrc [127.0.0.1]:*\nsrc 127.0.0.1/255.255.255.255\n(src 127.0.0.1)\n( ( src 127.0.0.1 ) )\nsrc 127.0.0.\\1", src("127.0.0.1/32")},
		{"src 127/8\nsrc 127.0.0.0/8\nsrc 127.1.2.3/8\nsrc 127.0.0.1/255.0.0.0\nsrc 127.0.0.1/0x8", src("127.0.0.0/8")},
		{"dst 10\ndst 10.0\ndst 10.0.0.0/32", dst("10.0.0.0/32")},
		{"src 0.0.0.0/0\nsrc 0/0\nsrc 1.2.3.4/0\nsrc 0/0.0.0.0", src("0.0.0.0/0")},
		{"src ::/0\nsrc [::/0]\nsrc [::]/0\nsrc [::1/0]", src("::/0")},
		{"src ::1\nsrc [::1]\nsrc ::1/128\nsrc [::1/128]\nsrc [::1]/128\nsrc [0:0::1]:*", src("::1/128")},
		{"src ::\nsrc [::]", src("::/128")},
		{"dst 2001:db8::/32\ndst [2001:db8::/32]\ndst [2001:db8::1]/32\ndst [2001:db8::/32]:*\ndst 2001:db8::1/32", dst("2001:db8::/32")},
		{"src 2001:db8:1:2:3:4:5:6\nsrc [2001:db8:1:2:3:4:5:6]", src("2001:db8:1:2:3:4:5:6/128")},
		{"src ::ffff:10.0.0.1\nsrc [::ffff:10.0.0.1]\nsrc [::ffff:a00:1]", sockdiag.LocalPrefix(netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 128))},
		{"src ::ffff:10.0.0.0/104\nsrc [::ffff:10.1.2.3/104]", sockdiag.LocalPrefix(netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104))},
		{"src :80\nsrc *:80\nsrc any:80\nsrc :http\nsport = 80\nsport = :80\nsport :80\nsport 80\nsport eq http\nsport == :http\nsport=80\nsport = 0x50\nsport = 0120\n" +
			"sport = :HTTP", sport(80)},
		{"dst :https\ndport 443\ndport = :443", dport(443)},
		{"sport = 0\nsport <= 0\nsport < 1\nnot sport > 0", sport(0)},
		{"src 10.0.0.0/8:22\nsrc 10/8:ssh\nsrc 10.1.1.1/255.0.0.0:22\nsrc 10/8 and sport = 22\nsrc 10/8 sport 22", and(src("10.0.0.0/8"), sport(22))},
		{"dst [::1]:8080\ndst ::1:8080\ndst ::1/128:8080\ndst [::1/128]:8080\ndst [::1]/128:8080", and(dst("::1/128"), dport(8080))},
		{"not src 10/8:22\nsrc != 10/8:22", not(and(src("10.0.0.0/8"), sport(22)))},
		{"sport >= :1024\nsport ge 1024\nsport geq :1024\nsport>=1024\nsport > 1023\nsport gt :1023\nnot sport < 1024\nnot sport lt 1024\nnot sport <= 1023", sockdiag.LocalPort(1024, 65535)},
		{"dport <= :1023\ndport le 1023\ndport leq 1023\ndport < 1024\ndport lt :1024\nnot dport >= 1024\n! dport gt 1023", sockdiag.RemotePort(0, 1023)},
		{"sport != 80\nsport ne :80\nsport neq 80\nnot sport = 80\n! sport 80\n!sport 80\nnot not not sport 80\nsport!=80", not(sport(80))},
		{"sport >= 10 and sport <= 20\nsport >= 10 sport <= 20\nsport>=10&sport<=20\nsport >= 10 && sport <= 20", sockdiag.LocalPort(10, 20)},
		{"dev lo\ndev = lo\ndev=lo\ndev == lo\ndev eq lo\n(dev lo)\ndev \\lo", sockdiag.InterfaceName("lo")},
		{"dev 2\ndev = 2\ndev 0x2\ndev eq 02", sockdiag.Interface(2)},
		{"dev 0", sockdiag.Interface(0)},
		{"dev \\2", sockdiag.InterfaceName("2")},
		{"dev 2a\ndev \\2a", sockdiag.InterfaceName("2a")},
		{"dev 99999999999", sockdiag.InterfaceName("99999999999")},
		{"dev != lo\ndev ne lo\nnot dev lo\nnot dev = lo", not(sockdiag.InterfaceName("lo"))},
		{"dev \\and", sockdiag.InterfaceName("and")},
		{"dev a=b", sockdiag.InterfaceName("a=b")},
		{"fwmark 16\nfwmark = 0x10\nfwmark 0x10/0xffffffff\nfwmark 020\nfwmark eq 16", sockdiag.Mark(16, 0xffffffff)},
		{"fwmark 1/3\nfwmark = 0x1/0x3", sockdiag.Mark(1, 3)},
		{"fwmark != 1/3\nfwmark ne 1/3\nnot fwmark 1/3", not(sockdiag.Mark(1, 3))},
		{"fwmark 4294967295", sockdiag.Mark(0xffffffff, 0xffffffff)},
		{"cgroup /a/b\ncgroup = /a/b\ncgroup=/a/b", sockdiag.CgroupPath("/a/b")},
		{"cgroup /a\\ b", sockdiag.CgroupPath("/a b")},
		{"cgroup /a\\\\x2db", sockdiag.CgroupPath(`/a\x2db`)},
		{"cgroup /a\\(b\\)", sockdiag.CgroupPath("/a(b)")},
		{"cgroup 7", sockdiag.CgroupPath("7")},
		{"cgroup id:7\ncgroup = id:0x7", sockdiag.Cgroup(7)},
		{"cgroup \\id:7", sockdiag.CgroupPath("id:7")},
		{"cgroup != /a\nnot cgroup /a", not(sockdiag.CgroupPath("/a"))},
		{"autobound\n(autobound)", sockdiag.Autobound()},
		{"not autobound\n!autobound", not(sockdiag.Autobound())},

		// From left to right, and without rank.
		{"sport 1 or sport 2 and sport 3\n( sport 1 or sport 2 ) and sport 3\nsport 1 or sport 2 sport 3\nsport 1||sport 2&&sport 3", and(or(sport(1), sport(2)), sport(3))},
		{"sport 1 and sport 2 or sport 3\nsport 1 sport 2 or sport 3\nsport 1 & sport 2 | sport 3", or(and(sport(1), sport(2)), sport(3))},
		{"sport 1 or ( sport 2 and sport 3 )\nsport 1 or (sport 2 sport 3)", or(sport(1), and(sport(2), sport(3)))},
		{"not sport 1 or sport 2\n( not sport 1 ) or sport 2", or(not(sport(1)), sport(2))},
		{"not sport 1 and sport 2\nnot sport 1 sport 2", and(not(sport(1)), sport(2))},
		{"not ( sport 1 or sport 2 )\n!(sport 1 or sport 2)", not(or(sport(1), sport(2)))},
		{"sport 1 or sport 2 or sport 3\nsport 1 or ( sport 2 or sport 3 )\n( sport 1 or sport 2 ) or sport 3", or(sport(1), sport(2), sport(3))},
		{"dst 10.0.0.0/8 and ( dport = :https or sport >= :1024 )", and(dst("10.0.0.0/8"), or(dport(443), sockdiag.LocalPort(1024, 65535)))},

		// What is always or never met does not occur within others.
		{"sport 1 and src any\nsport 1 or not src any\nsrc any and sport 1", sport(1)},
		{"sport 1 or src any", all},
		{"sport 1 and not src any\nsport 1 dport > 65535", none},
	} {
		for text := range strings.SplitSeq(tt.texts, "\n") {
			f, err := sockdiag.ParseFilter(text)
			if err != nil {
				t.Errorf("%q: %v", text, err)
			} else if f != tt.want {
				t.Errorf("%q is %q, want %q", text, f, tt.want)
			}
		}
		if back := parseFilter(t, tt.want.String()); back != tt.want {
			t.Errorf("%q is read back as %q", tt.want, back)
		}
	}
}

func TestFilterString(t *testing.T) {
	for _, tt := range [][2]string{
		{"src any", ""},
		{"not src any", "not src *"},
		{"src 10/8:22", "src 10.0.0.0/8 and sport = :22"},
		{"dst ::1", "dst [::1]"},
		{"dst ::/0", "dst [::/0]"},
		{"src ::ffff:10.1.1.1/104", "src [::ffff:10.0.0.0/104]"},
		{"not dst 10.0.0.1", "not dst 10.0.0.1"},
		{"sport > 5 dport < 7", "sport >= :6 and dport <= :6"},
		{"not (dev 3 or fwmark 1/3)", "not ( dev 3 or fwmark 0x1/0x3 )"},
		{"!dev lo or !cgroup id:5 or !fwmark 9", "dev != lo or cgroup != id:5 or fwmark != 0x9"},
		{"autobound or autobound and not autobound", "( autobound or autobound ) and not autobound"},
		{"cgroup \\id:5", `cgroup \id:5`},
	} {
		if got := parseFilter(t, tt[0]).String(); got != tt[1] {
			t.Errorf("%q is written %q, want %q", tt[0], got, tt[1])
		}
	}
	for _, name := range []string{"lo", "and", "src", "5", "0x5", "a b", "\t", "\\", "=", "=a", "!", "a=b", "and=b", "(", ")", "a(b)c", "id:5", "ä", "\x00", "\xff", "&&", "eth0.100", "wlan0@if3", "-"} {
		for _, f := range []sockdiag.Filter{sockdiag.InterfaceName(name), sockdiag.CgroupPath(name)} {
			for _, f := range []sockdiag.Filter{f, sockdiag.Not(f), sockdiag.And(f, sockdiag.Autobound()), sockdiag.Not(sockdiag.Or(f, sockdiag.Autobound()))} {
				if back := parseFilter(t, f.String()); back != f {
					t.Errorf("%q: %q is read back as %q", name, f, back)
				}
			}
		}
	}
}

func TestParseFilterErrors(t *testing.T) {
	for _, tt := range []struct {
		text   string
		column int
		found  string
		want   string // a part of what was expected
	}{
		{"foo", 1, "foo", "a condition"},
		{"and", 1, "and", "a condition"},
		{"sport", 6, "", "a port"},
		{"sport =", 8, "", "a port"},
		{"sport = = 80", 9, "=", "a port"},
		{"sport > = 80", 9, "=", "a port"},
		{"sport > *", 9, "*", "a port"},
		{"sport = 65536", 9, "65536", "0 to 65535"},
		{"sport = -1", 9, "-1", "0 to 65535"},
		{"sport = +1", 9, "+1", "0 to 65535"},
		{"sport = 08", 9, "08", "0 to 65535"},
		{"sport = 99999999999999999999", 9, "99999999999999999999", "0 to 65535"},
		{"sport = :", 9, ":", "a port"},
		{"sport = nosuchservice", 9, "nosuchservice", "/etc/services"},
		{"sport = 10.0.0.1:80", 9, "10.0.0.1:80", "a port"},
		{"sport = 80 and", 15, "", "a condition"},
		{"sport = 80 or or sport = 81", 15, "or", "a condition"},
		{"sport = 80 and and", 16, "and", "a condition"},
		{"sport = dport", 9, "dport", "a port"},
		{"src", 4, "", "an address"},
		{"src and", 5, "and", "an address"},
		{"src example.org", 5, "example.org", "not looked up"},
		{"src localhost:80", 5, "localhost:80", "not looked up"},
		{"src ssh", 5, "ssh", "behind a colon"},
		{"src 10.0.0.1:", 5, "10.0.0.1:", "a port behind the last colon"},
		{"src :", 5, ":", "a port behind the last colon"},
		{"src 10.0.0.1:nosuchservice", 5, "10.0.0.1:nosuchservice", "a port behind the last colon"},
		{"src 10.0.0.0/33", 5, "10.0.0.0/33", "a prefix"},
		{"src 10.0.0.0/-1", 5, "10.0.0.0/-1", "a prefix"},
		{"src 10.0.0.0/", 5, "10.0.0.0/", "a prefix"},
		{"src 10.0.0.0/255.0.255.0", 5, "10.0.0.0/255.0.255.0", "a prefix"},
		{"src ::/129", 5, "::/129", "a prefix"},
		{"src 127/255", 5, "127/255", "a prefix"},
		{"src ::/255.0.0.0", 5, "::/255.0.0.0", "a prefix"},
		{"src 256.0.0.1", 5, "256.0.0.1", "an address"},
		{"src 1.2.3.4.5", 5, "1.2.3.4.5", "an address"},
		{"src fe80::1%lo", 5, "fe80::1%lo", "dev"},
		{"src [fe80::1%lo]:80", 5, "[fe80::1%lo]:80", "dev"},
		{"src [::1", 5, "[::1", "an address"},
		{"src []", 5, "[]", "an address"},
		{"src [::1]80", 5, "[::1]80", "an address"},
		{"src *80", 5, "*80", "an address"},
		{"src 2001:db8::1:xyz", 5, "2001:db8::1:xyz", "brackets"},
		{"src inet:10.0.0.1", 5, "inet:10.0.0.1", "Query.Family"},
		{"src unix:/tmp/x", 5, "unix:/tmp/x", "an address"},
		{"dev", 4, "", "a name"},
		{"dev and sport = 1", 5, "and", "a name"},
		{"dev = src", 7, "src", "a name"},
		{"dev > lo", 5, ">", "a name"},
		{"fwmark x", 8, "x", "a mark"},
		{"fwmark 1/", 8, "1/", "a mark"},
		{"fwmark 0x100000000", 8, "0x100000000", "a mark"},
		{"fwmark > 1", 8, ">", "a mark"},
		{"cgroup", 7, "", "a name"},
		{"cgroup id:x", 8, "id:x", "the number of a control group"},
		{"autobound = 1", 11, "=", "a condition"},
		{"src != = 1", 8, "=", "an address"},
		{"( sport = 80", 13, "", "column 1"},
		{"sport = 80 )", 12, ")", "no parenthesis is open"},
		{"()", 2, ")", "a condition"},
		{"not", 4, "", "a condition"},
		{"not )", 5, ")", "a condition"},
		{"\\src 10.0.0.1", 1, "\\src", "a condition"},
		{"sport = 80 state listening", 12, "state", "ParseQuery"},
		{"state listening", 1, "state", "ParseQuery"},
	} {
		f, err := sockdiag.ParseFilter(tt.text)
		var e *sockdiag.FilterError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, %v", tt.text, f, err)
			continue
		}
		if e.Input != tt.text || e.Column != tt.column || e.Found != tt.found || !strings.Contains(e.Want, tt.want) {
			t.Errorf("%q: column %d, found %q, want %q; should be %d, %q, %q", tt.text, e.Column, e.Found, e.Want, tt.column, tt.found, tt.want)
		}
	}
	for _, tt := range [][2]string{
		{"sport = 80 and", "sockdiag: filter, column 15: the end, want "},
		{"x" + strings.Repeat("y", 99), `sockdiag: filter, column 1: "x` + strings.Repeat("y", 39) + `"..., want `},
	} {
		if _, err := sockdiag.ParseFilter(tt[0]); !strings.HasPrefix(err.Error(), tt[1]) {
			t.Errorf("%q: %v", tt[0], err)
		}
	}
}

// However deep a filter is nested and however long it is, nothing runs out of stack.
func TestFilterDepth(t *testing.T) {
	deep := func(n int, open, inner, shut string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{deep(1000, "(", "sport 1", ")"), true},
		{deep(1001, "(", "sport 1", ")"), false},
		{deep(1_000_000, "(", "", ""), false},
		{deep(1_000_000, "not ", "sport 1", ""), true},
		{deep(990, "not ( sport 1 and ", "sport 2", " )"), false},
		{deep(490, "not ( sport 1 and ", "sport 2", " )"), true},
		{"sport 1" + strings.Repeat(" and sport 2 or sport 3", 400), true},
		{"sport 1" + strings.Repeat(" and sport 2 or sport 3", 600), false},
		{"sport 1" + strings.Repeat(" and sport 2 or sport 3", 300_000), false},
		{"sport 1" + strings.Repeat(" or sport 2", 20_000), true},
		{"sport 1" + strings.Repeat(" or sport 2", 20_000) + " and dport 1", true},
	} {
		f, err := sockdiag.ParseFilter(tt.text)
		if (err == nil) != tt.ok {
			t.Errorf("%.40s... (%d bytes): %.200v", tt.text, len(tt.text), err)
		}
		var e *sockdiag.FilterError
		if err != nil && (!errors.As(err, &e) || !strings.Contains(e.Want, "less nesting")) {
			t.Errorf("%.40s...: %.200v", tt.text, err)
		}
		if err == nil {
			if back := parseFilter(t, f.String()); back != f {
				t.Errorf("%.40s... is not read back", tt.text)
			}
			f.Match(new(sockdiag.Socket))
		}
	}
	f := sockdiag.Autobound()
	for range 2000 {
		f = sockdiag.Not(sockdiag.And(f, sockdiag.LocalPort(1, 1)))
	}
	if matched, decided := f.Match(new(sockdiag.Socket)); matched || decided {
		t.Error("what is too deep has an answer")
	}
	if s := f.String(); !strings.Contains(s, "nested") {
		t.Errorf("it is written %.100q", s)
	}
}

// Filters are equal where they say the same in the same way, and can be keys.
func TestFilterEquality(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.0/8")
	port, pre, dev := sockdiag.LocalPort(80, 80), sockdiag.LocalPrefix(p), sockdiag.InterfaceName("lo")
	for i, pair := range [][2]sockdiag.Filter{
		{sockdiag.And(), sockdiag.Filter{}},
		{sockdiag.And(port), port},
		{sockdiag.Or(port), port},
		{sockdiag.And(port, sockdiag.And(pre, dev)), sockdiag.And(port, pre, dev)},
		{sockdiag.And(sockdiag.And(port, pre), dev), sockdiag.And(port, pre, dev)},
		{sockdiag.Or(sockdiag.Or(port, pre), dev), sockdiag.Or(port, sockdiag.Or(pre, dev))},
		{sockdiag.And(port, sockdiag.Filter{}, pre), sockdiag.And(port, pre)},
		{sockdiag.Or(port, sockdiag.Or(), pre), sockdiag.Or(port, pre)},
		{sockdiag.Or(port, sockdiag.Filter{}), sockdiag.Filter{}},
		{sockdiag.And(port, sockdiag.Or()), sockdiag.Or()},
		{sockdiag.Not(sockdiag.Not(port)), port},
		{sockdiag.Not(sockdiag.Or()), sockdiag.Filter{}},
		{sockdiag.Not(sockdiag.Filter{}), sockdiag.Or()},
		{sockdiag.Not(sockdiag.LocalPort(0, 79)), sockdiag.LocalPort(80, 65535)},
		{sockdiag.LocalPort(0, 65535), sockdiag.Filter{}},
		{sockdiag.Mark(0, 0), sockdiag.Filter{}},
		{sockdiag.Mark(4, 3), sockdiag.Or()},
		{sockdiag.LocalPrefix(netip.MustParsePrefix("10.9.9.9/8")), pre},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%d: %q and %q", i, pair[0], pair[1])
		}
	}
	different := map[sockdiag.Filter]int{}
	all := []sockdiag.Filter{
		{}, sockdiag.Or(), port, sockdiag.RemotePort(80, 80), pre, sockdiag.RemotePrefix(p), dev, sockdiag.CgroupPath("lo"), sockdiag.Interface(1), sockdiag.Cgroup(1),
		sockdiag.Mark(1, 1), sockdiag.Mark(1, 3), sockdiag.Autobound(), sockdiag.Not(port), sockdiag.And(port, pre), sockdiag.Or(port, pre), sockdiag.And(pre, port),
		sockdiag.LocalPrefix(netip.MustParsePrefix("10.0.0.0/9")), sockdiag.LocalPort(80, 65535), sockdiag.LocalPort(0, 80), sockdiag.LocalPort(79, 80),
		sockdiag.LocalPrefix(netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)), sockdiag.LocalPrefix(netip.MustParsePrefix("0.0.0.0/0")), sockdiag.LocalPrefix(netip.MustParsePrefix("::/0")),
	}
	for i, f := range all {
		if j, ok := different[f]; ok {
			t.Errorf("%d and %d are equal: %q", i, j, f)
		}
		different[f] = i
	}
}

func TestParseQuery(t *testing.T) {
	for _, tt := range []struct {
		text   string
		states tcpstate.Set
		family sockdiag.Family
		filter string
	}{
		{"", 0, 0, ""},
		{"sport = 80", 0, 0, "sport = :80"},
		{"state time-wait", tcpstate.TimeWait.Set(), 0, ""},
		{"state TIME-WAIT state fin-wait-2 dst 10/8", tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2), 0, "dst 10.0.0.0/8"},
		{"state time-wait,fin-wait-2 dst 10/8", tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2), 0, "dst 10.0.0.0/8"},
		{"state listening", tcpstate.Listen.Set(), 0, ""},
		{"state established", tcpstate.Established.Set(), 0, ""},
		{"state syn-rcv", tcpstate.SynRecv.Set(), 0, ""},
		{"state close", tcpstate.Closed.Set(), 0, ""},
		{"state unconnected", tcpstate.Closed.Set(), 0, ""},
		{"state bound-inactive", tcpstate.BoundInactive.Set(), 0, ""},
		{"state all", tcpstate.All, 0, ""},
		{"state connected (sport 1)", tcpstate.Connected, 0, "sport = :1"},
		{"state big", tcpstate.Big, 0, ""},
		{"exclude listening", tcpstate.All.Without(tcpstate.Listen), 0, ""},
		{"excl listening exclude time-wait", tcpstate.All.Without(tcpstate.Listen, tcpstate.TimeWait), 0, ""},
		{"exclude syn-recv", tcpstate.All.Without(tcpstate.SynRecv, tcpstate.NewSynRecv), 0, ""},
		{"exclude bucket", tcpstate.Big, 0, ""},
		{"state connected exclude established", tcpstate.Connected.Without(tcpstate.Established), 0, ""},
		{"exclude all state established", tcpstate.Established.Set(), 0, ""},
		{"state established src inet:10.0.0.1", tcpstate.Established.Set(), sockdiag.IPv4, "src 10.0.0.1"},
		{"src inet6:any", 0, sockdiag.IPv6, ""},
		{"src inet6:* or dst inet6:[::1]:80", 0, sockdiag.IPv6, ""},
		{"not dst inet::80", 0, sockdiag.IPv4, "dport != :80"},
	} {
		want := sockdiag.Query{States: tt.states, Family: tt.family, Filter: parseFilter(t, tt.filter)}
		if q, err := sockdiag.ParseQuery(tt.text); err != nil || q != want {
			t.Errorf("%q: %+v, %v", tt.text, q, err)
		}
	}
	for _, tt := range []struct {
		text   string
		column int
		want   string
	}{
		{"state", 6, "a state"},
		{"state foo", 7, "a state"},
		{"state ( established )", 7, "a state"},
		{"state established exclude established", 27, "none is left"},
		{"exclude all sport = 1", 9, "none is left"},
		{"state none", 7, "none is left"},
		{"sport = 1 state established", 11, "come first"},
		{"state established foo", 19, "a condition"},
		{"src inet:10.0.0.1 or dst inet6:any", 26, "the same family"},
		{"src inet:[::1]", 5, "an address"},
		{"src inet6:10.0.0.1", 5, "an address"},
		{"src inet:", 5, "an address"},
	} {
		q, err := sockdiag.ParseQuery(tt.text)
		var e *sockdiag.FilterError
		if !errors.As(err, &e) || e.Column != tt.column || !strings.Contains(e.Want, tt.want) || q != (sockdiag.Query{}) {
			t.Errorf("%q: %+v, %v", tt.text, q, err)
		}
	}
}
