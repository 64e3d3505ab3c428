package sockdiag

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// nameResolver looks up, in the network namespace of a Client, what a Filter names.
// Its errors match fs.ErrNotExist where there is no such thing.
type nameResolver interface {
	interfaceIndex(name string) (uint32, error)
	cgroupID(path string) (uint64, error)
}

// filterProgram is a Filter made ready for one request.
type filterProgram struct {
	// code is the payload of the attribute InetDiagReqBytecode. Without any the
	// request goes without the attribute, and selects everything.
	code []byte

	// rows is for Match of the rows that arrive: the Filter with its names looked
	// up and what the request's family settles left out.
	rows Filter

	// nothing says that no socket is selected, so that there is no need to ask. A
	// code that says so to the kernel is there.
	nothing bool
}

// compile checks the query, and puts its filter into the request that was made of
// it and into what the rows are checked with.
func (c *Client) compile(q *Query, r *request, rows *rowFilter) error {
	if err := q.check(); err != nil || q.Filter == (Filter{}) {
		return err
	}
	cn, err := c.acquire()
	if err != nil {
		return err
	}
	defer c.release(cn, true) // names are looked up without a request on it
	p, err := q.Filter.compile(q.Family, transportNames{cn.transport})
	r.program, r.nothing, rows.match = p.code, p.nothing, p.rows
	if r.protocol == SCTP {
		r.program, rows.alone = nil, true // sctp_diag does not look at it
	}
	return err
}

// compile makes the program for a request of the family, zero for both. The names
// may be nil for a Filter that has none. The program selects exactly what Filter
// promises, on every kernel that knows its operations (5.10 knows all).
func (f Filter) compile(family Family, names nameResolver) (filterProgram, error) {
	n := f.node()
	switch n.op {
	case opEverything:
		return filterProgram{}, nil
	case opInvalid:
		return filterProgram{}, fmt.Errorf("the filter cannot be used: %s: %w", n.name, fs.ErrInvalid)
	}
	f, err := f.rewrite(func(c Filter, n filterNode) (Filter, error) { return c.settle(n, family, names) })
	if err != nil {
		return filterProgram{}, err
	}
	p := filterProgram{rows: f, nothing: f == nothingFilter()}
	switch {
	case p.nothing:
		a := newAssembler()
		a.op(uapi.BytecodeJmp, labelReject)
		p.code, err = a.link()
	case f != (Filter{}):
		a := newAssembler()
		a.add(f, labelAccept, labelReject, labelAccept)
		p.code, err = a.link()
	}
	return p, err
}

// settle returns what stands for a condition in a request of the family: the
// condition, another one, everything or nothing.
func (f Filter) settle(n filterNode, family Family, names nameResolver) (Filter, error) {
	switch n.op {
	case opPrefix:
		switch v4 := n.prefix.Addr().Is4(); {
		case family == IPv4 && !v4:
			return nothingFilter(), nil
		case n.prefix.Bits() == 0 && (family == IPv4 && v4 || family == IPv6 && !v4):
			return Filter{}, nil
		}
	case opInterfaceName, opCgroupPath:
		if names == nil {
			return Filter{}, fmt.Errorf("%s: names cannot be looked up here: %w", f, errors.ErrUnsupported)
		}
		if n.op == opCgroupPath {
			id, err := names.cgroupID(n.name)
			return Cgroup(id), err
		}
		index, err := names.interfaceIndex(n.name)
		return Interface(index), err
	}
	return f, nil
}

// rewrite replaces each condition by what condition returns for it.
func (f Filter) rewrite(condition func(Filter, filterNode) (Filter, error)) (Filter, error) {
	n := f.node()
	switch n.op {
	case opEverything, opNothing:
		return f, nil
	case opNot:
		part, err := n.left.rewrite(condition)
		return Not(part), err
	case opAnd, opOr:
		parts := f.appendParts(nil, n.op)
		for i := range parts {
			var err error
			if parts[i], err = parts[i].rewrite(condition); err != nil {
				return Filter{}, err
			}
		}
		return joinFilters(n.op, parts), nil
	}
	return condition(f, n)
}
