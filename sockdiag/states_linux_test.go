package sockdiag_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func dial(t *testing.T) *sockdiag.Client {
	t.Helper()
	c, err := sockdiag.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func collect(t *testing.T, c *sockdiag.Client, q sockdiag.Query) []sockdiag.Socket {
	t.Helper()
	all, err := sockdiag.Collect(c.Dump(t.Context(), q))
	if err != nil {
		t.Fatalf("Dump(%+v): %v", q, err)
	}
	return all
}

// find returns the row of a socket that was made: by its cookie, or by its
// addresses where nobody could ask for one.
func find(rows []sockdiag.Socket, m nstest.Made) (sockdiag.Socket, bool) {
	i := slices.IndexFunc(rows, func(s sockdiag.Socket) bool {
		if m.Cookie != 0 {
			return s.Cookie == m.Cookie
		}
		return s.Local == m.Local && s.Remote == m.Remote
	})
	if i < 0 {
		return sockdiag.Socket{}, false
	}
	return rows[i], true
}

// hasBoundInactive is the release that brought the state's dump.
func hasBoundInactive(t *testing.T) bool {
	t.Helper()
	r, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	return r.AtLeast(6, 8)
}

// Every TCP state, made for real, is in the dump with what its maker knows of it.
func TestStates(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			made := nstest.States(t, family)
			c := dial(t)
			all := collect(t, c, sockdiag.Query{Attrs: sockdiag.AttrTCPInfo})
			seen := map[tcpstate.State]bool{}
			for _, m := range made {
				t.Run(m.Name, func(t *testing.T) {
					s, ok := find(all, m)
					if !ok {
						if m.State == tcpstate.BoundInactive && !hasBoundInactive(t) {
							t.Skip("this kernel is older than 6.8, and does not dump bound-only sockets")
						}
						t.Fatalf("not in the dump: %+v", m)
					}
					seen[m.State] = true
					checkRow(t, s, m)

					// Its state alone selects it, in either request.
					for _, q := range []sockdiag.Query{
						{States: m.State.Set()},
						{States: m.State.Set(), Family: sockdiag.Family(m.Family)},
					} {
						rows := collect(t, c, q)
						if _, ok := find(rows, m); !ok {
							t.Errorf("%+v: not in the dump", q)
						}
						for _, r := range rows {
							if r.State != m.State || q.Family != 0 && r.Family != q.Family {
								t.Errorf("%+v: a row in %v of %v", q, r.State, r.Family)
							}
						}
						counts, err := c.Count(t.Context(), q)
						if err != nil {
							t.Fatal(err)
						}
						if counts[m.State] != uint64(len(rows)) || counts.Total() != uint64(len(rows)) {
							t.Errorf("%+v: counts %v, but %d rows", q, counts, len(rows))
						}
					}
					// All others do not; but the kernel has two that select request sockets.
					others := tcpstate.All.Without(m.State)
					if m.State == tcpstate.SynRecv {
						others = others.Without(tcpstate.NewSynRecv)
					}
					if _, ok := find(collect(t, c, sockdiag.Query{States: others}), m); ok {
						t.Error("the mask of all other states selects it")
					}
				})
			}
			for s := tcpstate.Established; s <= tcpstate.BoundInactive; s++ {
				// A request socket says SYN_RECV, and a TCP socket that is closed is in no table.
				if !seen[s] && s != tcpstate.NewSynRecv && s != tcpstate.Closed && (s != tcpstate.BoundInactive || hasBoundInactive(t)) {
					t.Errorf("no socket in %v was looked at", s)
				}
			}
		})
	}
}

func checkRow(t *testing.T, s sockdiag.Socket, m nstest.Made) {
	t.Helper()
	if s.Family != sockdiag.Family(m.Family) || s.Protocol != sockdiag.TCP || s.State != m.State {
		t.Errorf("%v %v %v, want %v %v", s.Family, s.Protocol, s.State, m.Family, m.State)
	}
	if s.Local != m.Local || s.Remote != m.Remote {
		t.Errorf("%v to %v, want %v to %v", s.Local, s.Remote, m.Local, m.Remote)
	}
	if s.Inode != m.Inode {
		t.Errorf("inode %d, want %d", s.Inode, m.Inode)
	}
	if m.Cookie != 0 && s.Cookie != m.Cookie || s.Cookie == 0 {
		t.Errorf("cookie %d, want %d", s.Cookie, m.Cookie)
	}
	if id := s.ID(); id.Family != s.Family || id.Protocol != sockdiag.TCP || id.Local != m.Local || id.Remote != m.Remote || id.Cookie != s.Cookie {
		t.Errorf("ID %+v", id)
	}
	checkTimer(t, s, m)

	mini := m.Timer == uint8(sockdiag.TimerTimeWait)
	request := m.State == tcpstate.SynRecv
	uid, ok := s.Owner()
	if m.Inode != 0 && (!ok || uid != m.UID) || (mini || request) && ok {
		t.Errorf("Owner %d, %v, want %d", uid, ok, m.UID)
	}
	queued, limit, ok := s.Backlog()
	if ok != (m.State == tcpstate.Listen) || queued != m.Queued || limit != m.Limit {
		t.Errorf("Backlog %d of %d, %v, want %d of %d", queued, limit, ok, m.Queued, m.Limit)
	}
	if m.FD >= 0 && m.State != tcpstate.Listen {
		// sock_diag counts a FIN that came, and a SYN that went, as a byte.
		recv, send := m.RecvQueue, m.SendQueue
		switch m.State {
		case tcpstate.CloseWait, tcpstate.LastAck, tcpstate.Closing:
			recv++
		case tcpstate.SynSent:
			send++
		}
		if s.RecvQueue != recv || s.SendQueue != send {
			t.Errorf("queues %d and %d, want %d and %d", s.RecvQueue, s.SendQueue, recv, send)
		}
	}
	if want := !mini && !request && m.State != tcpstate.BoundInactive; s.Attrs.Has(sockdiag.AttrTCPInfo) != want {
		t.Errorf("attributes %v", s.Attrs)
	} else if want && s.TCPInfo.State != m.State {
		t.Errorf("tcp_info is in %v", s.TCPInfo.State)
	}
}

func checkTimer(t *testing.T, s sockdiag.Socket, m nstest.Made) {
	t.Helper()
	if s.Timer.Kind != sockdiag.TimerKind(m.Timer) {
		t.Errorf("timer %v, want %v", s.Timer.Kind, sockdiag.TimerKind(m.Timer))
	}
	// The limits are those of the kernel: TIME_WAIT, and here what the maker set
	// for the others; retransmission goes up to two minutes.
	most := map[sockdiag.TimerKind]time.Duration{
		sockdiag.TimerTimeWait:   time.Minute,
		sockdiag.TimerKeepalive:  300 * time.Second,
		sockdiag.TimerRetransmit: 2 * time.Minute,
		sockdiag.TimerProbe:      2 * time.Minute,
	}[s.Timer.Kind]
	if s.Timer.Expires < 0 || s.Timer.Expires > most {
		t.Errorf("timer %v expires in %v, want up to %v", s.Timer.Kind, s.Timer.Expires, most)
	}
	left, ok := s.TimeWait()
	if ok != (m.Timer == uint8(sockdiag.TimerTimeWait)) || ok && left < 30*time.Second {
		t.Errorf("TimeWait %v, %v", left, ok)
	}
}

// TIME_WAIT lasts a minute, and the time left runs down with the clock.
func TestTimeWaitRunsDown(t *testing.T) {
	nstest.RequireNamespace(t)
	begin := time.Now()
	m := nstest.TimeWait(t, nstest.IPv4, 1)[0]
	c := dial(t)
	q := sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait)}
	const slack = 500 * time.Millisecond // ticks of the kernel, which lag where a processor is emulated
	for range 5 {
		before := time.Since(begin)
		s, ok := find(collect(t, c, q), m)
		after := time.Since(begin)
		if !ok {
			t.Fatal("not in the dump")
		}
		left, ok := s.TimeWait()
		if !ok || left > time.Minute {
			t.Fatalf("TimeWait %v, %v", left, ok)
		}
		// It began after begin, so it has more left than a minute from then.
		if left < time.Minute-after-slack {
			t.Errorf("%v left, %v after it began at most", left, after)
		}
		if before > time.Second && left > time.Minute-before+time.Second {
			t.Errorf("%v left, %v after it began", left, before)
		}
		time.Sleep(400 * time.Millisecond)
	}
}

// One walk brings both families, and either alone is the part of it that it says.
func TestFamilies(t *testing.T) {
	nstest.RequireNamespace(t)
	// Of its own: TIME_WAITs of other tests may end between two dumps.
	nstest.NewNamespace(t).Do(func() {
		var made []nstest.Made
		for _, family := range nstest.Families {
			made = append(made, nstest.Many(t, family, 20, 10)...)
		}
		c := dial(t)
		both := collect(t, c, sockdiag.Query{})
		v4 := collect(t, c, sockdiag.Query{Family: sockdiag.IPv4})
		v6 := collect(t, c, sockdiag.Query{Family: sockdiag.IPv6})
		for _, m := range made {
			s, ok := find(both, m)
			if !ok || s.Family != sockdiag.Family(m.Family) {
				t.Errorf("%+v is in the dump of both: %v", m, ok)
			}
			_, in4 := find(v4, m)
			_, in6 := find(v6, m)
			if want := m.Family == uint8(sockdiag.IPv4); in4 != want || in6 != !want {
				t.Errorf("%+v is in the dump of IPv4 %v, of IPv6 %v", m, in4, in6)
			}
		}
		if len(both) != len(v4)+len(v6) {
			t.Errorf("%d rows of both families, %d of IPv4, %d of IPv6", len(both), len(v4), len(v6))
		}
		for _, s := range v6 {
			if s.Local.Addr().Zone() != "" || s.Family != sockdiag.IPv6 || !s.Local.Addr().Is6() {
				t.Errorf("%v", s.Local)
			}
		}
		mapped := slices.ContainsFunc(v6, func(s sockdiag.Socket) bool {
			return s.Local.Addr() == netip.MustParseAddr("::ffff:127.0.0.1")
		})
		if !mapped {
			t.Error("no IPv4-mapped address among the IPv6 sockets")
		}
	})
}
