package sockdiag

import (
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Match reports whether the filter selects a socket, as far as what the kernel
// told of it can answer that. Where it cannot, decided is false, and so is
// matched. Undecided are
//
//   - Autobound, always.
//   - Mark, unless the socket has AttrMark.
//   - Cgroup, unless the socket has AttrCgroupID or is a mini-socket, which has no
//     control group.
//   - InterfaceName and CgroupPath, because they have to be looked up. Those of a
//     Query are, when a call begins.
//   - The local port of a raw socket.
//
// Not of these is undecided, And is where no part says no and one does not say,
// and Or accordingly.
//
// To a Query's own rows Match says yes or nothing, unless a socket changed between
// the kernel's look and its answer: such rows are left out.
func (f Filter) Match(s *Socket) (matched, decided bool) {
	switch f.match(s) {
	case answerYes:
		return true, true
	case answerNo:
		return false, true
	}
	return false, false
}

// answer is yes, no, or that the row cannot say.
type answer uint8

const (
	answerUnknown answer = iota
	answerYes
	answerNo
)

func (a answer) not() answer {
	switch a {
	case answerYes:
		return answerNo
	case answerNo:
		return answerYes
	}
	return answerUnknown
}

func yesIf(cond bool) answer {
	if cond {
		return answerYes
	}
	return answerNo
}

func (f Filter) match(s *Socket) answer {
	switch n := f.node(); n.op {
	case opEverything:
		return answerYes
	case opNothing:
		return answerNo
	case opAnd:
		return n.matchParts(s, answerNo)
	case opOr:
		return n.matchParts(s, answerYes)
	case opNot:
		return n.left.match(s).not()
	default:
		return n.matchCondition(s)
	}
}

// matchParts returns the decisive answer where a part gives it, and the opposite
// where all give that.
func (n filterNode) matchParts(s *Socket, decisive answer) answer {
	op := n.op
	result := decisive.not()
	for {
		switch n.left.match(s) {
		case decisive:
			return decisive
		case answerUnknown:
			result = answerUnknown
		}
		rest := n.right.node()
		if rest.op != op {
			break
		}
		n = rest
	}
	switch n.right.match(s) {
	case decisive:
		return decisive
	case answerUnknown:
		return answerUnknown
	}
	return result
}

func (n *filterNode) matchCondition(s *Socket) answer {
	end := s.Local
	if n.remote {
		end = s.Remote
	}
	switch n.op {
	case opPort:
		if s.Protocol == Raw && !n.remote {
			return answerUnknown
		}
		return yesIf(n.lo <= end.Port() && end.Port() <= n.hi)
	case opPrefix:
		addr := end.Addr()
		if n.prefix.Addr().Is4() {
			addr = addr.Unmap()
		}
		return yesIf(n.prefix.Contains(addr))
	case opInterface:
		return yesIf(uint64(s.Interface) == n.number)
	case opMark:
		if s.Attrs.Has(AttrMark) {
			return yesIf(uint64(s.Mark&n.mask) == n.number)
		}
	case opCgroup:
		if s.Attrs.Has(AttrCgroupID) || s.mini() {
			return yesIf(s.CgroupID == n.number)
		}
	}
	return answerUnknown
}

// mini reports whether the socket is a mini-socket: TIME_WAIT, a FIN_WAIT2 that
// lives as one, or a request socket. Full sockets have AttrShutdown.
func (s *Socket) mini() bool {
	return s.Timer.Kind == uapi.TimerTimeWait || s.State == tcpstate.TimeWait ||
		s.State == tcpstate.SynRecv && s.Inode == 0 && !s.Attrs.Has(AttrShutdown)
}
