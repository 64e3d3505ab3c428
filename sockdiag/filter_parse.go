package sockdiag

import (
	"fmt"
	"strconv"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// FilterError is the error of ParseFilter and ParseQuery.
type FilterError struct {
	Input  string // what was parsed, whole
	Column int    // where it went wrong, in bytes from 1; behind the end where something is missing
	Found  string // the word or sign there; empty at the end
	Want   string // what was expected, for people; may change
}

// Error names the column, what was found there and what was expected. Of a long
// word it shows the beginning.
func (e *FilterError) Error() string {
	found, more := "the end", ""
	if e.Found != "" {
		found = e.Found
		if len(found) > 40 {
			found, more = found[:40], "..."
		}
		found = strconv.Quote(found) + more
	}
	return fmt.Sprintf("sockdiag: filter, column %d: %s, want %s", e.Column, found, e.Want)
}

// ParseFilter reads a filter in the language of ss(8): what that takes behind its
// options, as in
//
//	dst 10.0.0.0/8 and ( dport = :https or sport >= :1024 )
//
// Empty text selects everything. Conditions are
//
//   - src and dst, the local and the remote end: with an address or a prefix (10.1.2.3,
//     10.0.0.0/8, 10/8, 10.0.0.0/255.0.0.0, [2001:db8::1], [2001:db8::/32],
//     2001:db8::/32), a port (:22, *:22, :ssh), or both (10.0.0.0/8:22,
//     [2001:db8::/32]:22). *, any, all and default are any address, and :* is any
//     port.
//   - sport and dport, the local and the remote port: with =, !=, <, >, <=, >= or, in
//     letters, eq, ne, lt, gt, le, ge, and a port (:22, 22, 0x16, ssh).
//   - dev, with the name or the index of a device (dev eth0, dev 2), 0 for none: see
//     Interface.
//   - fwmark, with a mark or a mark and a mask (fwmark 1, fwmark 0x10/0xff): see Mark.
//   - cgroup, with a path (cgroup /system.slice), or with an id, which ss does not
//     know (cgroup id:4242): see CgroupPath and Cgroup.
//   - autobound: see Autobound.
//
// An = or, but for autobound, a != may stand before any value, and the = be left
// out. Conditions are joined by and (&, &&), or (|, ||), and not (!), which is of
// the one condition or parenthesis behind it. And may be left out.
//
// And and or have the same rank and are taken from left to right, as ss does it:
// "a or b and c" is "( a or b ) and c". Parentheses make it clear.
//
// Names of hosts are not looked up: they are errors. Names of services are, in
// /etc/services, and some are known without it. Devices and control groups are
// looked up when a call gets the Filter. Where a name contains white space, a
// parenthesis or a backslash, or is a keyword or a number, a backslash goes before
// that character or the first.
//
// Where ss and this differ:
//
//   - Signs and parentheses need no white space around them here.
//   - An IPv6 address may go without brackets, or have its prefix behind them. As for
//     ss the last colon of 2001:db8::1:80 stands before a port; here it does so only
//     where there is an address before it.
//   - Here src and dst know !=.
//   - ss takes ports outside 0 to 65535, and ":" with no port for any. Here these are
//     errors: the latter is more often the trace of an empty variable.
//   - ss drops the sockets of one family where a prefix of length 0 is negated
//     ("not src 0.0.0.0/0" selects nothing there), and some where a prefix of the
//     other family has the same first bits. See Filter for what is meant here.
//   - In front of an address ss takes a family ("inet6:"). That is of the whole query,
//     and so for ParseQuery.
//
// The error is a *FilterError. Nesting is limited to a depth of 1000.
func ParseFilter(s string) (Filter, error) {
	p := filterParser{input: s}
	f, err := p.filter()
	if err == nil && p.family != 0 {
		err = p.fail(p.familyAt, "an address alone: the family is Query.Family, which ParseQuery sets")
	}
	if err != nil {
		return Filter{}, err
	}
	return f, nil
}

// filterParser reads from input what begins at next.
type filterParser struct {
	input string
	next  token

	family   Family // that "inet:" or "inet6:" said, at familyAt
	familyAt token
}

func (p *filterParser) advance() { p.next = lex(p.input, p.next.end) }

// fail returns the error that something else than t was expected.
func (p *filterParser) fail(t token, want string) error {
	return &FilterError{Input: p.input, Column: t.pos + 1, Found: p.input[t.pos:t.end], Want: want}
}

const wantCondition = "a condition (src, dst, sport, dport, dev, fwmark, cgroup, autobound), not or a parenthesis"

// filter reads all of the rest.
func (p *filterParser) filter() (Filter, error) {
	p.advance()
	if p.next.kind == tokenEnd {
		return Filter{}, nil
	}
	f, err := p.expression(0)
	if err != nil {
		return Filter{}, err
	}
	if p.next.kind != tokenEnd {
		return Filter{}, p.fail(p.next, "and, or or the end: no parenthesis is open")
	}
	return f, nil
}

// expression reads parts with and, or or nothing between them, to the end or a
// parenthesis that closes. It is within so many parentheses.
func (p *filterParser) expression(depth int) (Filter, error) {
	first, err := p.part(depth)
	if err != nil {
		return Filter{}, err
	}
	// Parts that the same word joins are collected, so that a long list is not one
	// within another.
	parts, joined := []Filter{first}, opAnd
	for {
		begin := p.next
		op := opAnd
		switch p.next.kind {
		case tokenEnd, tokenClose:
			f := joinFilters(joined, parts)
			return f, p.check(f, begin)
		case tokenAnd:
			p.advance()
		case tokenOr:
			op = opOr
			p.advance()
		}
		part, err := p.part(depth)
		if err != nil {
			return Filter{}, err
		}
		if op != joined {
			f := joinFilters(joined, parts)
			if err := p.check(f, begin); err != nil {
				return Filter{}, err
			}
			parts, joined = []Filter{f}, op
		}
		parts = append(parts, part)
	}
}

// check refuses a filter that has become too deep where t is.
func (p *filterParser) check(f Filter, t token) error {
	if n := f.node(); n.op == opInvalid {
		return p.fail(t, "less nesting: "+n.name)
	}
	return nil
}

// part reads a condition or a parenthesis, with any number of nots before it.
func (p *filterParser) part(depth int) (Filter, error) {
	begin := p.next
	negative := false
	for p.next.kind == tokenNot {
		negative = !negative
		p.advance()
	}
	f, err := p.positive(depth)
	if err != nil || !negative {
		return f, err
	}
	f = Not(f)
	return f, p.check(f, begin)
}

func (p *filterParser) positive(depth int) (Filter, error) {
	if p.next.kind != tokenOpen {
		return p.condition()
	}
	open := p.next
	if depth == maxDepth {
		return Filter{}, p.fail(open, "less nesting: "+strconv.Itoa(maxDepth)+" parentheses are open")
	}
	p.advance()
	f, err := p.expression(depth + 1)
	if err != nil {
		return Filter{}, err
	}
	if p.next.kind != tokenClose {
		return Filter{}, p.fail(p.next, fmt.Sprintf("a parenthesis that closes the one of column %d", open.pos+1))
	}
	p.advance()
	return f, nil
}

func (p *filterParser) condition() (Filter, error) {
	keyword := p.next
	text := keyword.text
	if keyword.escaped {
		text = ""
	}
	if keyword.kind == tokenWord && isKeyword(text) {
		p.advance()
	}
	switch text {
	case "src", "dst":
		return p.host(text == "dst")
	case "sport", "dport":
		return p.ports(text == "dport")
	case "dev":
		return p.named(p.device)
	case "cgroup":
		return p.named(p.cgroup)
	case "fwmark":
		return p.mark()
	case "autobound":
		return Autobound(), nil
	case "state", "exclude", "excl":
		return Filter{}, p.fail(keyword, wantCondition+"; states are for ParseQuery, and come first there")
	}
	return Filter{}, p.fail(keyword, wantCondition)
}

// ParseQuery reads a whole line of ss(8) behind its options: states first, then a
// filter, as in
//
//	state time-wait state fin-wait-2 dst 10.0.0.0/8
//	exclude listening sport = :443
//
// It sets the Query's States, Filter and, where an address has "inet:" or "inet6:"
// before it, Family; these then are of the whole query, wherever they stand. A
// state or exclude (excl) has one state or group behind it, or a list of them as
// tcpstate.ParseSet reads it. Where the first word is exclude, it takes away from
// all states, and later ones from what is left or was named. Excluding syn-recv
// takes away request sockets too.
//
// Without states it is all of them, as with the option -a of ss. A line that leaves
// none is an error, because Query takes an empty set for all. The error is a
// *FilterError. As to filters see ParseFilter.
func ParseQuery(s string) (Query, error) {
	p := filterParser{input: s}
	states, err := p.states()
	if err != nil {
		return Query{}, err
	}
	f, err := p.filter()
	if err != nil {
		return Query{}, err
	}
	return Query{Family: p.family, States: states, Filter: f}, nil
}

// states reads states and excludes. Zero is that there are none.
func (p *filterParser) states() (set tcpstate.Set, err error) {
	for first := true; ; first = false {
		word := lex(p.input, p.next.end)
		exclude := word.text == "exclude" || word.text == "excl"
		if word.escaped || word.text != "state" && !exclude {
			if set == 0 && !first {
				return 0, p.fail(p.next, "states that leave some: none is left")
			}
			return set, nil
		}
		p.next = lex(p.input, word.end)
		if p.next.kind == tokenWord {
			p.next = lexName(p.input, p.next)
		}
		one, err := tcpstate.ParseSet(p.next.text)
		if err != nil {
			return 0, p.fail(p.next, "a state (established, syn-sent, time-wait and so on) or one of all, connected, synchronized, bucket, big")
		}
		if !exclude {
			set |= one
			continue
		}
		if first {
			set = tcpstate.All
		}
		if one.Has(tcpstate.SynRecv) {
			one = one.With(tcpstate.NewSynRecv)
		}
		set &^= one
	}
}
