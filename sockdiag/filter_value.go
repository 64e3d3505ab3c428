package sockdiag

import (
	"context"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// sign reads = or !=, which may be left out. It is negative for !=.
func (p *filterParser) sign() (negative bool) {
	negative = p.next.kind == tokenNE
	if negative || p.next.kind == tokenEQ {
		p.advance()
	}
	return negative
}

// value returns the word that a condition is about. It is the next still.
func (p *filterParser) value(want string) (token, error) {
	if p.next.kind != tokenWord || !p.next.escaped && isKeyword(p.next.text) {
		return token{}, p.fail(p.next, want)
	}
	return p.next, nil
}

func notIf(negative bool, f Filter) Filter {
	if negative {
		return Not(f)
	}
	return f
}

// named reads the value of dev and cgroup, which make may refuse.
func (p *filterParser) named(make func(name token) (Filter, error)) (Filter, error) {
	negative := p.sign()
	word, err := p.value("a name")
	if err != nil {
		return Filter{}, err
	}
	word = lexName(p.input, word)
	f, err := make(word)
	if err != nil {
		return Filter{}, err
	}
	p.next = word
	p.advance()
	return notIf(negative, f), nil
}

func (p *filterParser) device(name token) (Filter, error) {
	if !name.escaped && isDigit(name.text[0]) {
		if index, ok := parseNumber(name.text, 32); ok {
			return Interface(uint32(index)), nil
		}
	}
	return InterfaceName(name.text), nil
}

// cgroupID stands before the id of a control group.
const cgroupID = "id:"

func (p *filterParser) cgroup(name token) (Filter, error) {
	text, ok := strings.CutPrefix(name.text, cgroupID)
	if name.escaped || !ok {
		return CgroupPath(name.text), nil
	}
	id, ok := parseNumber(text, 64)
	if !ok {
		return Filter{}, p.fail(name, "the number of a control group behind "+cgroupID)
	}
	return Cgroup(id), nil
}

func (p *filterParser) mark() (Filter, error) {
	const want = "a mark, or a mark/mask, of 32 bits each"
	negative := p.sign()
	word, err := p.value(want)
	if err != nil {
		return Filter{}, err
	}
	value, mask, masked := strings.Cut(word.text, "/")
	v, ok := parseNumber(value, 32)
	m := uint64(math.MaxUint32)
	if masked && ok {
		m, ok = parseNumber(mask, 32)
	}
	if !ok {
		return Filter{}, p.fail(word, want)
	}
	p.advance()
	return notIf(negative, Mark(uint32(v), uint32(m))), nil
}

// ports reads the value of sport and dport.
func (p *filterParser) ports(remote bool) (Filter, error) {
	sign := p.next.kind
	negative := false
	switch sign {
	case tokenLT, tokenGT, tokenLE, tokenGE:
		p.advance()
	default:
		sign = tokenEQ
		negative = p.sign()
	}
	const want = "a port: 0 to 65535, or the name of a TCP service in /etc/services"
	word, err := p.value(want)
	if err != nil {
		return Filter{}, err
	}
	text := strings.TrimPrefix(word.text, ":")
	n, ok := parsePort(text)
	if text == "*" && sign == tokenEQ {
		p.advance()
		return notIf(negative, Filter{}), nil
	}
	if !ok {
		return Filter{}, p.fail(word, want)
	}
	p.advance()
	switch sign {
	case tokenGE:
		return portFilter(remote, n, maxPort), nil
	case tokenLE:
		return portFilter(remote, 0, n), nil
	case tokenGT:
		return Not(portFilter(remote, 0, n)), nil
	case tokenLT:
		return Not(portFilter(remote, n, maxPort)), nil
	}
	return notIf(negative, portFilter(remote, n, n)), nil
}

// host reads the value of src and dst.
func (p *filterParser) host(remote bool) (Filter, error) {
	const want = "an address, a prefix, a port behind a colon or *; names of hosts are not looked up"
	negative := p.sign()
	word, err := p.value(want)
	if err != nil {
		return Filter{}, err
	}
	text, family := word.text, Family(0)
	if rest, ok := strings.CutPrefix(text, "inet:"); ok {
		text, family = rest, IPv4
	} else if rest, ok := strings.CutPrefix(text, "inet6:"); ok {
		text, family = rest, IPv6
	}
	if family != 0 && p.family != 0 && family != p.family {
		return Filter{}, p.fail(word, "the same family as before: it is of the whole query")
	}
	if family != 0 {
		p.family, p.familyAt = family, word
	}

	if strings.Contains(text, "%") {
		return Filter{}, p.fail(word, "an address without %: dev is for the device")
	}
	addr, service, hasPort, ok := splitHost(text)
	if !ok {
		return Filter{}, p.fail(word, want)
	}
	var f Filter
	if hasPort && service != "*" {
		n, ok := parsePort(service)
		if !ok {
			return Filter{}, p.fail(word, "a port behind the last colon (0 to 65535, the name of a TCP service in /etc/services, or *), or brackets around an IPv6 address")
		}
		f = portFilter(remote, n, n)
	}
	switch addr {
	case "", "*", "any", "all", "default":
	default:
		of, ok := parsePrefix(addr)
		if !ok || family == IPv4 && of.Addr().Is6() || family == IPv6 && of.Addr().Is4() {
			return Filter{}, p.fail(word, want)
		}
		f = And(prefixFilter(remote, of), f)
	}
	p.advance()
	return notIf(negative, f), nil
}

// splitHost divides what is of an address and what is of a port. Colons are of
// both, so that ss(8) has rules: the address is in brackets, or it has a prefix
// length, or it ends at the last colon. Where it would be none by the last of them,
// all is the address.
func splitHost(s string) (addr, port string, hasPort, ok bool) {
	behind := ""
	switch {
	case strings.HasPrefix(s, "["):
		addr, behind, ok = strings.Cut(s[1:], "]")
		if !ok || addr == "" || strings.Contains(addr, "*") {
			return "", "", false, false
		}
		// The prefix length may stand behind the bracket, too.
		if length, _, _ := strings.Cut(behind, ":"); strings.HasPrefix(length, "/") {
			addr, behind = addr+length, behind[len(length):]
		}
	default:
		from := max(strings.IndexByte(s, '/'), 0)
		colon := strings.LastIndexByte(s[from:], ':')
		if colon < 0 {
			return s, "", false, s != ""
		}
		addr, behind = s[:from+colon], s[from+colon:]
		if _, ok := parseAddr(s); ok {
			// ::1 and ::ffff:10.0.0.1 are addresses; 2001:db8::1:80 has a port.
			if _, ok := parseAddr(addr); !ok || strings.Contains(behind, ".") {
				return s, "", false, true
			}
		}
	}
	if behind == "" {
		return addr, "", false, true
	}
	return addr, behind[1:], true, behind[0] == ':'
}

// parsePrefix reads an address with or without a prefix length. As for ss(8), an
// IPv4 address may lack its last numbers, which are then 0, may have them octal or
// hexadecimal, and may have a mask for its length.
func parsePrefix(s string) (netip.Prefix, bool) {
	text, length, hasLength := strings.Cut(s, "/")
	addr, ok := parseAddr(text)
	if !ok {
		return netip.Prefix{}, false
	}
	if !hasLength {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	bits, ok := parseNumber(length, 8)
	if !ok && addr.Is4() {
		bits, ok = parseMask(length)
	}
	p := netip.PrefixFrom(addr, int(bits))
	return p, ok && p.IsValid()
}

func parseAddr(s string) (netip.Addr, bool) {
	if strings.Contains(s, ":") {
		addr, err := netip.ParseAddr(s)
		return addr, err == nil && addr.Is6()
	}
	var b [4]byte
	for i := range b {
		number, rest, more := strings.Cut(s, ".")
		n, ok := parseNumber(number, 8)
		if !ok {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
		if !more {
			return netip.AddrFrom4(b), true
		}
		s = rest
	}
	return netip.Addr{}, false
}

// parseMask reads 255.255.0.0 as 16. Its ones come before its zeros.
func parseMask(s string) (bits uint64, ok bool) {
	addr, ok := parseAddr(s)
	if !ok || !addr.Is4() {
		return 0, false
	}
	for n := range 33 {
		if p := netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), n); p.Masked().Addr() == addr {
			return uint64(n), true
		}
	}
	return 0, false
}

// parsePort reads a port or the name of a TCP service.
func parsePort(s string) (uint16, bool) {
	if s == "" || s == "*" {
		return 0, false
	}
	if n, ok := parseNumber(s, 16); ok {
		return uint16(n), true
	}
	if strings.Trim(s, "0123456789+-") == "" {
		return 0, false // the resolver takes some of these for numbers
	}
	// Go's own resolver has the file and a list, and asks nobody for a port.
	r := net.Resolver{PreferGo: true}
	n, err := r.LookupPort(context.Background(), "tcp", s)
	return uint16(n), err == nil && 0 <= n && n <= maxPort
}

// parseNumber reads a number as C has it: 16, 0x10 and 020 are the same.
func parseNumber(s string, bits int) (uint64, bool) {
	base := 10
	if rest, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		s, base = rest, 16
	} else if len(s) > 1 && s[0] == '0' {
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, bits)
	return n, err == nil
}
