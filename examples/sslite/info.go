package main

import (
	"strconv"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// appendInfo appends what of tcp_info tells how a connection fares: how far away
// the peer is, how much went over, what was lost, and what holds it up. The words
// are those of ss; zeros that say that all is well are left out.
func appendInfo(w *words, s *sockdiag.Socket) {
	t := &s.TCPInfo
	if s.Congestion != "" {
		w.word(s.Congestion)
	}
	if s.State == tcpstate.Listen {
		return // the queues are all that a listener has
	}
	if t.CAState != sockdiag.CAOpen {
		w.word("ca:" + t.CAState.String())
	}
	if t.RTT > 0 {
		w.word("rtt:")
		w.b = append(appendMillis(w.b, t.RTT), '/')
		w.b = append(appendMillis(w.b, t.RTTVar), "ms"...)
	}
	w.time("minrtt", t.MinRTT)
	w.time("rto", t.RTO)
	w.positive("backoff", uint64(t.Backoff))
	w.positive("mss", uint64(t.SndMSS))
	w.positive("pmtu", uint64(t.PMTU))
	w.positive("cwnd", uint64(t.SndCwnd))
	if t.SndSSThresh < sockdiag.SSThreshInfinite {
		w.number("ssthresh", uint64(t.SndSSThresh))
	}

	w.positive("bytes_sent", t.BytesSent)
	w.positive("bytes_retrans", t.BytesRetrans)
	w.positive("bytes_acked", t.BytesAcked)
	w.positive("bytes_received", t.BytesReceived)
	w.positive("segs_out", uint64(t.SegsOut))
	w.positive("segs_in", uint64(t.SegsIn))

	w.rate("pacing_rate", t.PacingRate)
	w.rate("delivery_rate", t.DeliveryRate)
	if t.DeliveryRateAppLimited {
		w.word("app_limited")
	}
	if t.Retrans > 0 || t.TotalRetrans > 0 {
		w.number("retrans", uint64(t.Retrans))
		w.b = strconv.AppendUint(append(w.b, '/'), uint64(t.TotalRetrans), 10)
	}
	w.positive("unacked", uint64(t.Unacked))
	w.positive("lost", uint64(t.Lost))
	w.positive("sacked", uint64(t.Sacked))
	w.positive("dsack_dups", uint64(t.DSACKDups))
	w.positive("reord_seen", uint64(t.ReordSeen))
	w.positive("rcv_ooopack", uint64(t.RcvOOOPack))
	w.positive("notsent", uint64(t.NotsentBytes))

	w.time("busy", t.BusyTime)
	w.share("rwnd_limited", t.RwndLimited, t.BusyTime)
	w.share("sndbuf_limited", t.SndbufLimited, t.BusyTime)
	w.time("lastsnd", t.LastDataSent)
	w.time("lastrcv", t.LastDataRecv)
	w.time("lastack", t.LastAckRecv)
	w.time("rcv_rtt", t.RcvRTT)
	if t.Has(sockdiag.FieldSndWnd) && s.State != tcpstate.SynSent {
		w.number("snd_wnd", uint64(t.SndWnd)) // 0 is a peer that takes no more
	}
}

func (w *words) positive(name string, n uint64) {
	if n > 0 {
		w.number(name, n)
	}
}

// time appends a time, unless it is 0 or NoTraffic.
func (w *words) time(name string, d time.Duration) {
	if d > 0 {
		w.word(name + ":")
		w.b = append(appendMillis(w.b, d), "ms"...)
	}
}

// share appends a time and how much of the whole it is.
func (w *words) share(name string, d, whole time.Duration) {
	if d <= 0 || whole <= 0 {
		return
	}
	w.time(name, d)
	w.b = append(w.b, '(')
	w.b = strconv.AppendFloat(w.b, 100*float64(d)/float64(whole), 'f', 1, 64)
	w.b = append(w.b, "%)"...)
}

// rate appends a rate in bits per second, with three digits.
func (w *words) rate(name string, bytesPerSecond uint64) {
	if bytesPerSecond == 0 || bytesPerSecond == sockdiag.RateUnlimited {
		return
	}
	w.word(name + ":")
	bits, unit := 8*float64(bytesPerSecond), 0
	for bits >= 999.5 && unit < 4 {
		bits /= 1000
		unit++
	}
	w.b = strconv.AppendFloat(w.b, bits, 'g', 3, 64)
	w.b = append(w.b, [...]string{"bps", "kbps", "Mbps", "Gbps", "Tbps"}[unit]...)
}

// appendMillis appends milliseconds, to the microsecond and without zeros at the
// end.
func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d.Microseconds())/1000, 'f', -1, 64)
}
