package sockdiag

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// assembler puts a filter program together. Each operation is a test: where it
// holds the kernel goes on behind it, and otherwise jumps ahead. A jump to the end
// accepts the socket, one to four bytes behind the end rejects it.
type assembler struct {
	code   []byte
	labels []int // where they are in the code
	jumps  []jump
}

// jump says that the operation at that place jumps to the label.
type jump struct{ at, label int }

// Labels that link places.
const (
	labelAccept = iota
	labelReject
	firstLabel
)

func newAssembler() *assembler { return &assembler{labels: make([]int, firstLabel)} }

// add appends the code of a filter, which goes on at the one label or the other.
// The label next is one of the two, and will be right behind the code.
//
// Not only exchanges the labels, and so applies De Morgan's laws without a mention
// of them. What costs an operation of its own is to jump where a condition holds.
func (a *assembler) add(f Filter, accept, reject, next int) {
	n := f.node()
	switch n.op {
	case opNot:
		a.add(n.left, reject, accept, next)
	case opAnd, opOr:
		parts := f.appendParts(nil, n.op)
		if n.op == opAnd {
			parts = fuse(parts)
		}
		sortParts(parts, n.op)
		last := len(parts) - 1
		for _, part := range parts[:last] {
			more := len(a.labels)
			a.labels = append(a.labels, 0)
			if n.op == opAnd {
				a.add(part, more, reject, more)
			} else {
				a.add(part, accept, more, more)
			}
			a.labels[more] = len(a.code)
		}
		a.add(parts[last], accept, reject, next)
	default:
		a.condition(&n, reject)
		if next != accept {
			a.op(uapi.BytecodeJmp, accept)
		}
	}
}

// fuse joins a prefix and a port of the same end into one condition, which the
// kernel has an operation for.
func fuse(parts []Filter) []Filter {
	for _, remote := range [...]bool{false, true} {
		find := func(op filterOp) int {
			return slices.IndexFunc(parts, func(f Filter) bool {
				n := f.node()
				return n.op == op && n.remote == remote && (op != opPort || n.lo == n.hi)
			})
		}
		host, port := find(opPrefix), find(opPort)
		if host < 0 || port < 0 {
			continue
		}
		n := parts[host].node()
		n.op, n.lo = opPrefixPort, parts[port].node().lo
		parts[host] = n.filter()
		parts = slices.Delete(parts, port, port+1)
	}
	return parts
}

// sortParts puts the parts where they cost least: a condition that is not the last
// of an And, and one of an Or under a Not, need no jump where they hold.
func sortParts(parts []Filter, op filterOp) {
	rank := func(f Filter) int {
		if (f.node().op == opNot) == (op == opOr) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(parts, func(f, g Filter) int { return rank(f) - rank(g) })
}

// op appends an operation without operands that jumps to the label if its test
// fails. The caller appends operands with operand.
func (a *assembler) op(code uint8, otherwise int) {
	a.jumps = append(a.jumps, jump{len(a.code), otherwise})
	a.code = append(a.code, code, uapi.SizeofBytecodeOp, 0, 0)
}

// operand lengthens the last operation.
func (a *assembler) operand(b ...byte) {
	a.code = append(a.code, b...)
	a.code[a.jumps[len(a.jumps)-1].at+1] += uint8(len(b))
}

func (a *assembler) operand16(v uint16) { a.operand(ne.AppendUint16(nil, v)...) }
func (a *assembler) operand32(v uint32) { a.operand(ne.AppendUint32(nil, v)...) }
func (a *assembler) operand64(v uint64) { a.operand(ne.AppendUint64(nil, v)...) }

// condition appends the operation that tests a condition.
func (a *assembler) condition(n *filterNode, otherwise int) {
	code := func(local, remote uint8) uint8 {
		if n.remote {
			return remote
		}
		return local
	}
	switch n.op {
	case opPort:
		p := n.lo
		switch n.lo {
		case n.hi:
			a.op(code(uapi.BytecodeSEq, uapi.BytecodeDEq), otherwise)
		case 0:
			p = n.hi
			a.op(code(uapi.BytecodeSLE, uapi.BytecodeDLE), otherwise)
		default:
			a.op(code(uapi.BytecodeSGE, uapi.BytecodeDGE), otherwise)
		}
		a.operand(0, 0)
		a.operand16(p)
	case opPrefix, opPrefixPort:
		a.op(code(uapi.BytecodeSCond, uapi.BytecodeDCond), otherwise)
		family := IPv4
		if n.prefix.Addr().Is6() {
			family = IPv6
		}
		a.operand(uint8(family), uint8(n.prefix.Bits()), 0, 0)
		if n.op == opPrefixPort {
			a.operand32(uint32(n.lo))
		} else {
			a.operand32(^uint32(0)) // any
		}
		a.operand(n.prefix.Addr().AsSlice()...)
	case opInterface:
		a.op(uapi.BytecodeDevCond, otherwise)
		a.operand32(uint32(n.number))
	case opMark:
		a.op(uapi.BytecodeMarkCond, otherwise)
		a.operand32(uint32(n.number))
		a.operand32(n.mask)
	case opCgroup:
		a.op(uapi.BytecodeCgroupCond, otherwise)
		a.operand64(n.number)
	case opAutobound:
		a.op(uapi.BytecodeAuto, otherwise)
	}
}

// link places the last labels and fills in the jumps.
func (a *assembler) link() ([]byte, error) {
	end := len(a.code)
	if end > uapi.MaxBytecode {
		return nil, fmt.Errorf("the filter is too long for the kernel: %d bytes of its bytecode, of at most %d: %w", end, uapi.MaxBytecode, fs.ErrInvalid)
	}
	a.labels[labelAccept], a.labels[labelReject] = end, end+uapi.SizeofBytecodeOp
	for _, j := range a.jumps {
		ne.PutUint16(a.code[j.at+2:], uint16(a.labels[j.label]-j.at))
	}
	return a.code, nil
}
