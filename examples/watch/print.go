package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
)

// printer prints notices as they come, each at once: somebody waits for them.
type printer struct {
	out    io.Writer
	asJSON bool
	udp    bool // show which protocol it was
	filter sockdiag.Filter
	line   []byte

	width                   int // of the local ends so far
	closed, undecided, lost uint64
	sent, received, retrans uint64
}

func (p *printer) header() error {
	if p.asJSON {
		return nil
	}
	p.width = len("255.255.255.255:65535")
	return p.row("time", "netid", "sent", "received", "retrans", "rtt ms", "lasted", "local", "remote")
}

// row prints a line of the table. The ends come last, because they have any
// length.
func (p *printer) row(at, netid, sent, received, retrans, rtt, lasted, local, remote string) error {
	p.line = fmt.Appendf(p.line[:0], "%-12s ", at)
	if p.udp {
		p.line = fmt.Appendf(p.line, "%-5s ", netid)
	}
	p.width = max(p.width, len(local))
	p.line = fmt.Appendf(p.line, "%12s %12s %7s %9s %10s  %-*s %s\n", sent, received, retrans, rtt, lasted, p.width, local, remote)
	_, err := p.out.Write(p.line)
	return err
}

// print prints a notice, unless the filter is against it.
func (p *printer) print(n *sockdiag.Notice, now time.Time) error {
	if n.Kind == sockdiag.Lost {
		p.lost += n.Lost
		if p.asJSON {
			return p.json(now, "lost", strconv.AppendUint(nil, n.Lost, 10))
		}
		return nil
	}
	s := &n.Socket
	matched, decided := p.filter.Match(s)
	switch {
	case decided && !matched:
		return nil
	case !decided:
		p.undecided++
	}
	p.closed++
	known := s.Attrs.Has(sockdiag.AttrTCPInfo) && s.Remote.Port() != 0
	t := &s.TCPInfo
	if known {
		p.sent += sent(t)
		p.received += t.BytesReceived
		p.retrans += uint64(t.TotalRetrans)
	}
	if p.asJSON {
		return p.json(now, "socket", s.AppendJSON(nil))
	}
	at, netid, local, remote := now.Format("15:04:05.000"), strings.ToLower(s.Protocol.String()), end(s.Local), end(s.Remote)
	if !known {
		return p.row(at, netid, "-", "-", "-", "-", "-", local, remote)
	}
	rtt := "-"
	if t.RTT > 0 {
		rtt = fmt.Sprintf("%.3f", float64(t.RTT.Microseconds())/1000)
	}
	return p.row(at, netid, strconv.FormatUint(sent(t), 10), strconv.FormatUint(t.BytesReceived, 10),
		strconv.FormatUint(uint64(t.TotalRetrans), 10), rtt, lasted(t), local, remote)
}

func (p *printer) json(now time.Time, name string, value []byte) error {
	p.line = append(now.AppendFormat(append(p.line[:0], `{"time":"`...), time.RFC3339Nano), `","`...)
	p.line = append(append(append(append(p.line, name...), `":`...), value...), "}\n"...)
	_, err := p.out.Write(p.line)
	return err
}

// sent is the payload bytes that were sent, each once.
func sent(t *sockdiag.TCPInfo) uint64 { return t.BytesSent - min(t.BytesRetrans, t.BytesSent) }

// lasted is what is known of a connection's age. The kernel does not keep when
// it was made; but the times since data was last sent and received begin with that,
// and stay so where there was no data. Of others any of its times is a time in
// which the connection was there.
func lasted(t *sockdiag.TCPInfo) string {
	age, exact := max(t.LastDataSent, t.LastDataRecv, t.LastAckRecv, t.BusyTime), ">"
	switch {
	case t.LastDataSent == sockdiag.NoTraffic:
		return "-"
	case t.Has(sockdiag.FieldDataSegsOut) && t.DataSegsOut == 0:
		age, exact = t.LastDataSent, ""
	case t.Has(sockdiag.FieldDataSegsIn) && t.DataSegsIn == 0:
		age, exact = t.LastDataRecv, ""
	}
	return exact + strconv.FormatFloat(age.Seconds(), 'f', 3, 64) + "s"
}

// end is one end of a socket, with * for what is not known of it, or - for none.
func end(a netip.AddrPort) string {
	switch {
	case a.Port() != 0:
		return a.String()
	case a.Addr().IsUnspecified():
		return "-"
	}
	return strings.TrimSuffix(a.String(), "0") + "*"
}

func (p *printer) summary() string {
	s := fmt.Sprintf("%d closed, %d bytes sent, %d received, %d segments sent again", p.closed, p.sent, p.received, p.retrans)
	if p.undecided > 0 {
		s += fmt.Sprintf("; for %d of them the filter could not be decided", p.undecided)
	}
	if p.lost > 0 {
		s += fmt.Sprintf("; %d more lost", p.lost)
	}
	return s
}
