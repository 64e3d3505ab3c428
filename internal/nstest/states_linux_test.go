package nstest_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/tcpstate"
)

type tuple struct {
	family        uint8
	local, remote netip.AddrPort
}

// TestStates compares what States says of its sockets with what /proc says, two sets of each family at a time, in a
// namespace that holds nothing else.
func TestStates(t *testing.T) {
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			nstest.NewNamespace(t).Do(func() {
				made := append(nstest.States(t, family), nstest.States(t, family)...)
				rows := make(map[tuple]procRow)
				for _, r := range procTCP(t) {
					rows[tuple{r.Family, r.Local, r.Remote}] = r
				}
				var states tcpstate.Set
				for _, m := range made {
					states = states.With(m.State)
					key := tuple{m.Family, m.Local, m.Remote}
					got, ok := rows[key]
					delete(rows, key)
					if m.State == tcpstate.BoundInactive {
						// In no table that /proc shows.
						if ok {
							t.Errorf("%s: /proc shows it as state %d", m.Name, got.State)
						}
						continue
					}
					want := procRow{
						Local: m.Local, Remote: m.Remote, State: uint8(m.State), Timer: m.Timer,
						RxQueue: m.RecvQueue, TxQueue: m.SendQueue, UID: got.UID, Inode: m.Inode, Family: m.Family,
					}
					switch m.State {
					case tcpstate.Listen:
						want.RxQueue = uint32(m.Queued)
					case tcpstate.CloseWait, tcpstate.LastAck, tcpstate.Closing:
						want.RxQueue++ // The peer's FIN.
					case tcpstate.SynSent:
						want.TxQueue++ // Our SYN.
					}
					if m.Inode != 0 {
						want.UID = m.UID
					}
					if diff := cmp.Diff(want, got, addrPorts); diff != "" {
						t.Errorf("%s: (-made +/proc)\n%s", m.Name, diff)
					}
				}
				for key, r := range rows {
					t.Errorf("/proc shows a socket that nobody made: %v state %d", key, r.State)
				}
				for s := tcpstate.Established; s <= tcpstate.Closing; s++ {
					if s != tcpstate.Closed && !states.Has(s) {
						t.Errorf("no socket in %v", s)
					}
				}
			})
		})
	}
}

var addrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// TestStatesCookies asks another library's dump which cookies the sockets have, above all those that are closed.
func TestStatesCookies(t *testing.T) {
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			nstest.NewNamespace(t).Do(func() {
				made := nstest.States(t, family)
				dump, err := netlink.SocketDiagTCP(family.Number())
				if err != nil {
					nstest.Skip(t, "a dump of sock_diag: %v", err)
				}
				cookies := make(map[tuple]uint64)
				for _, s := range dump {
					key := tuple{s.Family, dumpAddr(s.ID.Source, s.ID.SourcePort, s.Family), dumpAddr(s.ID.Destination, s.ID.DestinationPort, s.Family)}
					cookies[key] = uint64(s.ID.Cookie[1])<<32 | uint64(s.ID.Cookie[0])
				}
				for _, m := range made {
					got, ok := cookies[tuple{m.Family, m.Local, m.Remote}]
					if m.State == tcpstate.BoundInactive {
						continue // That library does not ask for them.
					}
					if !ok {
						t.Errorf("%s is not in the dump", m.Name)
					}
					if m.Cookie != 0 && got != m.Cookie {
						t.Errorf("%s: cookie %d, in the dump %d", m.Name, m.Cookie, got)
					}
				}
			})
		})
	}
}

func dumpAddr(ip []byte, port uint16, family uint8) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	if family == 2 {
		a = a.Unmap()
	} else if a.Is4() {
		a = netip.AddrFrom16(a.As16()) // The library shortens mapped addresses.
	}
	return netip.AddrPortFrom(a, port)
}

// TestStatesAreCleared ends a test that made a set, and looks for what is left of it.
func TestStatesAreCleared(t *testing.T) {
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			ns := nstest.NewNamespace(t)
			var made []nstest.Made
			t.Run("set", func(t *testing.T) {
				ns.Do(func() { made = nstest.States(t, family) })
			})
			ns.Do(func() {
				var left []procRow
				for _, r := range procTCP(t) {
					if tcpstate.State(r.State) != tcpstate.TimeWait {
						left = append(left, r)
					}
				}
				if len(made) == 0 || len(left) > 0 {
					t.Errorf("of %d sockets these are left: %+v", len(made), left)
				}
			})
		})
	}
}

func TestMany(t *testing.T) {
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			nstest.NewNamespace(t).Do(func() {
				made := nstest.Many(t, family, 300, 200)
				made = append(made, nstest.TimeWait(t, family, 100)...)
				want := map[tcpstate.State]int{tcpstate.Established: 600, tcpstate.TimeWait: 300}
				claimed, got := make(map[tcpstate.State]int), make(map[tcpstate.State]int)
				tuples := make(map[tuple]bool)
				for _, m := range made {
					claimed[m.State]++
					tuples[tuple{m.Family, m.Local, m.Remote}] = true
				}
				for _, r := range procTCP(t) {
					got[tcpstate.State(r.State)]++
					if !tuples[tuple{r.Family, r.Local, r.Remote}] {
						t.Errorf("/proc shows a socket that nobody made: %v -> %v state %d", r.Local, r.Remote, r.State)
					}
				}
				if diff := cmp.Diff(want, claimed); diff != "" {
					t.Errorf("returned (-want +got)\n%s", diff)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("in /proc (-want +got)\n%s", diff)
				}
			})
		})
	}
}
