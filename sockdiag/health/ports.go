package health

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// loopbackIndex is the index of lo in every network namespace.
const loopbackIndex = 1

// reuse reports whether connect() takes over a TIME_WAIT between these ends, if it
// is old enough.
func (s *Settings) reuse(local, remote netip.Addr, device uint32) bool {
	if !s.TWReuse.Known || s.Timestamps.Or(sysctl.TimestampsOn) == sysctl.TimestampsOff {
		return false
	}
	switch s.TWReuse.Value {
	case sysctl.TWReuseOn:
		return true
	case sysctl.TWReuseLoopback:
		return local.IsLoopback() || remote.IsLoopback() || device == loopbackIndex
	}
	return false
}

// usable fills the properties of ports from the settings.
func (t *tally) usable() {
	s := &t.snapshot.Settings
	if !s.PortRange.Known {
		t.anyPort = true
		return
	}
	p := &t.snapshot.Ports
	p.Range = s.PortRange.Value
	p.Reserved = s.ReservedPorts.Value.In(p.Range)
	p.Capacity = p.Range.Len() - p.Reserved
	for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
		t.ports[port] |= portUsable
	}
	for _, r := range s.ReservedPorts.Value {
		for port := int(r.First); port <= int(r.Last); port++ {
			t.ports[port] &^= portUsable
		}
	}
}

// silentDestinations is how many destinations are kept because they do not answer.
const silentDestinations = 20

// destinations turns the flows into Destinations, the most used first.
func (s *Snapshot) destinations(flows []flow, most int) []Destination {
	unbound := map[flowKey]*flow{}
	for i := range flows {
		if _, _, device := flows[i].key.parts(); device != 0 {
			unbound[flows[i].key.withoutDevice()] = nil
		}
	}
	for i := range flows {
		if _, wanted := unbound[flows[i].key]; wanted {
			unbound[flows[i].key] = &flows[i]
		}
	}
	order := make([]*flow, len(flows))
	for i := range flows {
		order[i] = &flows[i]
	}
	slices.SortFunc(order, func(a, b *flow) int {
		return cmp.Or(cmp.Compare(b.used, a.used), slices.Compare(a.key[:], b.key[:]))
	})
	kept := order[:min(most, len(order))]
	rest := slices.DeleteFunc(order[len(kept):], func(f *flow) bool { return f.unheard == 0 })
	slices.SortStableFunc(rest, func(a, b *flow) int { return cmp.Compare(b.unheard, a.unheard) })
	kept = append(slices.Clone(kept), rest[:min(silentDestinations, len(rest))]...)

	all := make([]Destination, 0, len(kept))
	for _, f := range kept {
		d := Destination{
			Used: int(f.used), TimeWait: int(f.timeWait), FinWait2: int(f.finWait2), SynSent: int(f.synSent),
			Silent: int(f.unheard), CloseWait: int(f.closeWait), Ages: f.ages, Missed: int(f.missed), Aged: int(f.aged), Inode: f.inode,
		}
		d.Local, d.Remote, d.Interface = f.key.parts()
		var more flowCounts
		if d.Interface != 0 {
			// A socket without a device is in the way of one with; not the reverse.
			if u := unbound[f.key.withoutDevice()]; u != nil {
				more = u.flowCounts
			}
		}
		s.headroom(&d, &more)
		all = append(all, d)
	}
	return all
}

func (k flowKey) withoutDevice() flowKey {
	k[4] &= 1<<16 - 1
	return k
}

// headroom computes how many connects to a destination succeed before one fails
// with EADDRNOTAVAIL. more is the connections of another flow that are in the way.
func (s *Snapshot) headroom(d *Destination, more *flowCounts) {
	if !s.Settings.PortRange.Known {
		return
	}
	d.Reuse = s.Settings.reuse(d.Local, d.Remote.Addr(), d.Interface)
	if d.Reuse {
		d.Reusable = d.Aged + int(more.aged)
	}
	d.Free = max(0, s.Ports.Usable-d.Used-int(more.used))
	d.Headroom = d.Free + d.Reusable
	wait := timeWaitTime
	if d.Reuse {
		wait = s.Settings.reuseDelay()
	}
	d.RateLimit = float64(s.Ports.Usable) / wait.Seconds()
}

// Outlook is where the use of the ports to a destination goes.
type Outlook struct {
	Closing float64       // TIME_WAIT entered a second
	Growth  float64       // connections in other states, more a second; negative: fewer
	Left    time.Duration // until connects fail, if it goes on so
	Ends    bool          // they will, within a day; if not, Left is 0
}

// ahead is how far an Outlook looks.
const ahead = 24 * time.Hour

// Outlook computes it for one of the Snapshot's Destinations, from an earlier
// Snapshot of the same namespace. With nil, or one that is not a second older, the
// rate is that of the last ten seconds, which the TIME_WAITs themselves tell, and
// the number in other states is taken to stay. Today's TIME_WAITs end when their 60
// seconds are over; those that connect() took over meanwhile are not counted as
// closed, so that where Reuse is, Closing can be too low.
func (s *Snapshot) Outlook(d *Destination, before *Snapshot) Outlook {
	o := Outlook{Closing: float64(d.Ages[0]) / ageStep.Seconds()}
	others := d.Used - d.TimeWait
	if was, dt := s.earlier(d, before); was != nil {
		entered := float64(d.TimeWait-was.TimeWait) + was.Ages.expired(dt)
		o.Closing = max(0, entered/dt.Seconds())
		o.Growth = float64(others-(was.Used-was.TimeWait)) / dt.Seconds()
	}
	if s.Ports.Capacity == 0 {
		return o
	}
	room := float64(s.Ports.Usable)
	if d.Reuse {
		// Only those too young to be taken over are in the way.
		o.solve(room, func(t float64) float64 {
			young := float64(d.TimeWait - d.Aged)
			delay := s.Settings.reuseDelay().Seconds()
			if t >= delay {
				young = 0
			}
			return float64(others) + o.Growth*t + young + o.Closing*min(t, delay)
		})
		return o
	}
	o.solve(room, func(t float64) float64 {
		lasting := min(t, timeWaitTime.Seconds())
		return float64(others) + o.Growth*t + float64(d.TimeWait) - d.Ages.expired(time.Duration(lasting*float64(time.Second))) + o.Closing*lasting
	})
	return o
}

// earlier returns what a destination was in a Snapshot before, and how long ago; nil
// if that is not known.
func (s *Snapshot) earlier(d *Destination, before *Snapshot) (*Destination, time.Duration) {
	if before == nil {
		return nil, 0
	}
	dt := s.Time.Sub(before.Time)
	if dt < time.Second {
		return nil, 0
	}
	was := before.find(d)
	if was == nil && before.Outgoing == before.listed() {
		was = &Destination{} // there was none
	}
	return was, dt
}

// listed is how many connections lead to the Destinations that are listed.
func (s *Snapshot) listed() (n uint64) {
	for i := range s.Destinations {
		n += uint64(s.Destinations[i].Used)
	}
	return n
}

// solve looks for the time when used reaches room: second by second as long as
// today's TIME_WAIT end, later it grows evenly.
func (o *Outlook) solve(room float64, used func(seconds float64) float64) {
	const steady = 61
	for t := 0.0; t <= steady; t++ {
		if used(t) >= room {
			o.Left, o.Ends = time.Duration(t*float64(time.Second)), true
			return
		}
	}
	if o.Growth > 0 {
		if t := steady + (room-used(steady))/o.Growth; t < ahead.Seconds() {
			o.Left, o.Ends = time.Duration(math.Ceil(t))*time.Second, true
		}
	}
}

// expired returns how many of them end within the time, those of one step evenly.
func (a *Ages) expired(within time.Duration) float64 {
	n := 0.0
	for i, count := range a {
		ends := timeWaitTime - time.Duration(i+1)*ageStep // of the oldest of the step
		share := float64(within-ends) / float64(ageStep)
		n += min(max(share, 0), 1) * float64(count)
	}
	return n
}
