package sockdiag

import (
	"strconv"
	"strings"
)

// String returns the filter in the language of ParseFilter, which makes an equal
// Filter of it. ss(8) understands it too, but for Cgroup. The zero Filter is
// empty text. Of a Filter that no call can take (see LocalPort) the text says why
// and is not of the language.
func (f Filter) String() string {
	var b strings.Builder
	switch n := f.node(); n.op {
	case opEverything:
	case opInvalid:
		b.WriteString("invalid filter: " + n.name)
	default:
		n.write(&b)
	}
	return b.String()
}

func (n *filterNode) write(b *strings.Builder) {
	switch n.op {
	case opAnd:
		n.writeParts(b, " and ")
	case opOr:
		n.writeParts(b, " or ")
	case opNothing:
		b.WriteString("not src *")
	case opNot:
		n := n.left.node()
		switch n.op {
		case opPort, opInterface, opInterfaceName, opMark, opCgroup, opCgroupPath:
			n.writeCondition(b, " != ")
		default:
			b.WriteString("not ")
			n.writePart(b)
		}
	default:
		n.writeCondition(b, " = ")
	}
}

func (n *filterNode) writeParts(b *strings.Builder, between string) {
	op := n.op
	for {
		part := n.left.node()
		part.writePart(b)
		b.WriteString(between)
		rest := n.right.node()
		if rest.op != op {
			rest.writePart(b)
			return
		}
		n = &rest
	}
}

// writePart writes parentheses around what is joined of several.
func (n *filterNode) writePart(b *strings.Builder) {
	if n.op != opAnd && n.op != opOr {
		n.write(b)
		return
	}
	b.WriteString("( ")
	n.write(b)
	b.WriteString(" )")
}

// writeCondition writes a condition, with " != " for its opposite. What equals
// goes without a sign where ss(8) is used to that.
func (n *filterNode) writeCondition(b *strings.Builder, sign string) {
	space := sign
	if sign == " = " {
		space = " "
	}
	switch n.op {
	case opPort:
		b.WriteString(n.end("sport", "dport"))
		switch n.lo {
		case n.hi:
			b.WriteString(sign + ":" + strconv.Itoa(int(n.lo)))
		case 0:
			b.WriteString(" <= :" + strconv.Itoa(int(n.hi)))
		default:
			b.WriteString(" >= :" + strconv.Itoa(int(n.lo)))
		}
	case opPrefix:
		b.WriteString(n.end("src ", "dst "))
		text := n.prefix.String()
		if n.prefix.IsSingleIP() {
			text = n.prefix.Addr().String()
		}
		if n.prefix.Addr().Is6() {
			text = "[" + text + "]" // the last colon of others stands before a port
		}
		b.WriteString(text)
	case opInterface:
		b.WriteString("dev" + space + strconv.FormatUint(n.number, 10))
	case opInterfaceName:
		b.WriteString("dev" + space + quoteName(n.name))
	case opMark:
		b.WriteString("fwmark" + space + "0x" + strconv.FormatUint(n.number, 16))
		if n.mask != ^uint32(0) {
			b.WriteString("/0x" + strconv.FormatUint(uint64(n.mask), 16))
		}
	case opCgroup:
		b.WriteString("cgroup" + space + cgroupID + strconv.FormatUint(n.number, 10))
	case opCgroupPath:
		b.WriteString("cgroup" + space + quoteName(n.name))
	case opAutobound:
		b.WriteString("autobound")
	}
}

func (n *filterNode) end(local, remote string) string {
	if n.remote {
		return remote
	}
	return local
}

// quoteName puts a backslash before each character that ends a name, and before
// the first of what could be taken for something else: a number, a keyword, an id.
func quoteName(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && isPlain(name[i])
	}
	if plain && !isDigit(name[0]) && !isKeyword(name) && !strings.HasPrefix(name, cgroupID) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if i == 0 || isSpace(name[i]) || isParenthesis(name[i]) || name[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

func isPlain(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("_-./:@,+%", c) >= 0
}
