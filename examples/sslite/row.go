package main

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// appendCells appends the row of a socket to the table.
func (l *lister) appendCells(s *sockdiag.Socket, holders []owner.Holder) {
	t := &l.table
	if t.widths[0] > 0 { // there is such a column
		t.cells = append(t.cells, netid(s.Protocol)...)
	}
	t.cell()
	t.cells = append(t.cells, stateName(s)...)
	t.cell()
	t.cells = strconv.AppendUint(t.cells, uint64(s.RecvQueue), 10)
	t.cell()
	t.cells = strconv.AppendUint(t.cells, uint64(s.SendQueue), 10)
	t.cell()
	t.cells = l.appendEnd(t.cells, s, s.Local, s.Interface)
	t.cell()
	t.cells = l.appendEnd(t.cells, s, s.Remote, 0)
	t.cell()
	t.cells = l.appendRest(t.cells, s, holders)
	t.cell()
}

func netid(p sockdiag.Protocol) string {
	switch p {
	case sockdiag.TCP:
		return "tcp"
	case sockdiag.UDP:
		return "udp"
	case sockdiag.Raw:
		return "raw"
	case sockdiag.SCTP:
		return "sctp"
	case sockdiag.MPTCP:
		return "mptcp"
	}
	return p.String()
}

// stateName is the state as ss spells it.
func stateName(s *sockdiag.Socket) string {
	if state, ok := s.SCTPState(); ok && s.State == 0 {
		return strings.ReplaceAll(state.String(), "_", "-")
	}
	switch s.State {
	case tcpstate.Established:
		return "ESTAB"
	case tcpstate.Closed:
		return "UNCONN"
	case tcpstate.FinWait1:
		return "FIN-WAIT-1"
	case tcpstate.FinWait2:
		return "FIN-WAIT-2"
	case tcpstate.TimeWait:
		return "TIME-WAIT"
	}
	return strings.ReplaceAll(s.State.String(), "_", "-")
}

// appendEnd appends one end of a socket: of the IPv6 wildcard * where IPv4 can
// come in as well, and of port 0 *.
func (l *lister) appendEnd(b []byte, s *sockdiag.Socket, end netip.AddrPort, device uint32) []byte {
	switch addr := end.Addr(); {
	case addr.Is4():
		b = addr.AppendTo(b)
	case addr.IsUnspecified() && !s.V6Only:
		b = append(b, '*')
	default:
		b = append(addr.AppendTo(append(b, '[')), ']')
	}
	if device != 0 {
		b = append(append(b, '%'), l.names.device(device)...)
	}
	b = append(b, ':')
	if end.Port() == 0 {
		return append(b, '*')
	}
	return l.names.appendPort(b, s.Protocol, end.Port())
}

// appendRest appends what the flags ask for beyond the columns.
func (l *lister) appendRest(b []byte, s *sockdiag.Socket, holders []owner.Holder) []byte {
	w := words{b: b}
	if len(holders) > 0 {
		w.word("users:(")
		for i, h := range holders {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = append(w.b, h.String()...)
		}
		w.b = append(w.b, ')')
	}
	if l.timers && s.Timer.Kind != sockdiag.TimerNone {
		w.word("timer:(" + timerName(s.Timer.Kind) + ",")
		w.b = append(appendLeft(w.b, s.Timer.Expires), ',')
		w.b = append(strconv.AppendUint(w.b, uint64(s.Timer.Retransmits), 10), ')')
	}
	if l.details {
		l.appendDetails(&w, s)
	}
	if l.memory && s.Attrs.Has(sockdiag.AttrSocketMemory) {
		l.line(&w)
		appendMemory(&w, &s.SocketMemory)
	}
	if l.info && s.Protocol == sockdiag.TCP && s.Attrs.Has(sockdiag.AttrTCPInfo) {
		if !l.memory {
			l.line(&w)
		}
		appendInfo(&w, s)
	}
	return w.b
}

// line goes on in a further line, or with -O does not.
func (l *lister) line(w *words) {
	if !l.oneLine {
		w.b = append(w.b, "\n\t"...)
		w.some = false
	}
}

func (l *lister) appendDetails(w *words, s *sockdiag.Socket) {
	if uid, ok := s.Owner(); ok {
		w.number("uid", uint64(uid))
	}
	w.number("ino", uint64(s.Inode))
	w.word("sk:")
	w.b = strconv.AppendUint(w.b, s.Cookie, 16)
	if s.Mark != 0 {
		w.word("fwmark:0x")
		w.b = strconv.AppendUint(w.b, uint64(s.Mark), 16)
	}
	if s.Attrs.Has(sockdiag.AttrCgroupID) {
		w.word("cgroup:" + l.names.cgroup(s.CgroupID))
	}
	if s.Attrs.Has(sockdiag.AttrV6Only) {
		w.word("v6only:0")
		if s.V6Only {
			w.b[len(w.b)-1] = '1'
		}
	}
	if s.Attrs.Has(sockdiag.AttrShutdown) {
		arrow := []byte("<->")
		if s.Shutdown&sockdiag.ShutdownRecv != 0 {
			arrow[0] = '-'
		}
		if s.Shutdown&sockdiag.ShutdownSend != 0 {
			arrow[2] = '-'
		}
		w.word(string(arrow))
	}
}

// timerName is the kind of a timer as ss spells it.
func timerName(k sockdiag.TimerKind) string {
	switch k {
	case sockdiag.TimerRetransmit:
		return "on"
	case sockdiag.TimerTimeWait:
		return "timewait"
	case sockdiag.TimerProbe:
		return "persist"
	}
	return k.String()
}

// appendLeft appends a time as ss does, the coarser the longer: 12min, 1min40sec,
// 48sec, 4.200sec, 204ms.
func appendLeft(b []byte, left time.Duration) []byte {
	minutes, rest := left/time.Minute, left%time.Minute
	seconds, ms := int64(rest/time.Second), int64(rest%time.Second/time.Millisecond)
	if minutes > 0 {
		b = append(strconv.AppendInt(b, int64(minutes), 10), "min"...)
		if minutes > 9 || seconds == 0 {
			return b
		}
		ms = 0
	}
	if seconds == 0 {
		return append(strconv.AppendInt(b, ms, 10), "ms"...)
	}
	b = strconv.AppendInt(b, seconds, 10)
	if seconds < 10 && ms > 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return append(b, "sec"...)
}

func appendMemory(w *words, m *sockdiag.SocketMemory) {
	w.word("skmem:(r")
	for i, v := range [...]int64{
		int64(m.RecvAlloc), int64(m.RecvBuffer), int64(m.SendAlloc), int64(m.SendBuffer), int64(m.Forward),
		int64(m.SendQueued), int64(m.Options), int64(m.Backlog), int64(m.Drops),
	} {
		w.b = append(w.b, [...]string{"", ",rb", ",t", ",tb", ",f", ",w", ",o", ",bl", ",d"}[i]...)
		w.b = strconv.AppendInt(w.b, v, 10)
	}
	w.b = append(w.b, ')')
}

// words appends words with a space between them.
type words struct {
	b    []byte
	some bool // on this line
}

// word begins a word.
func (w *words) word(s string) {
	if w.some {
		w.b = append(w.b, ' ')
	}
	w.some = true
	w.b = append(w.b, s...)
}

func (w *words) number(name string, n uint64) {
	w.word(name)
	w.b = strconv.AppendUint(append(w.b, ':'), n, 10)
}
