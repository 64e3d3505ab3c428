package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

// A server that has stopped still has its clients in one line, where they are too
// many to be anything else. A few connections from one port are listed each.
func TestNobodyListens(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		few, many, v6, stays := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0"), listen(t, "[::1]:0"), listen(t, "127.0.0.1:0")
		var want []dest
		add := func(d dest) { want = append(want, d) }
		closeFirst(t, v6, 14)
		add(clientsOf(v6, false, 14))
		closeFirst(t, many, 11)
		// On another address of that port, where so few alone would not suffice.
		second := listen(t, fmt.Sprintf("127.0.0.2:%d", many.Addr().(*net.TCPAddr).Port))
		closeFirst(t, second, 2)
		add(clientsOf(many, false, 13))
		closeFirst(t, stays, 3) // and here one does
		add(clientsOf(stays, true, 3))
		clients := closeFirst(t, few, 10)
		slices.Sort(clients)
		for _, c := range clients {
			add(dest{Remote: c, TimeWait: 1})
		}
		for _, l := range []net.Listener{few, many, second, v6} {
			_ = l.Close()
		}

		r := jsonReport(t)
		if diff := cmp.Diff(want, r.Destinations); diff != "" {
			t.Errorf("destinations (-want +got):\n%s", diff)
		}
		x := parseText(t, clitest.Output(t, run))
		for i, d := range want[:3] {
			to := fmt.Sprintf("clients of our port %d", d.LocalPort)
			if i < 2 {
				to += " (nobody listens there now)"
			}
			if row := [3]string{strconv.Itoa(d.TimeWait), "0", to}; x.destinations[i] != row {
				t.Errorf("destination %d is %q, want %q", i, x.destinations[i], row)
			}
		}
	})
}

// Connections of ours, each from a port of its own, are not taken for clients.
func TestOutgoing(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		made := nstest.TimeWait(t, nstest.IPv4, 30)
		want := []dest{{Remote: made[0].Remote.String(), TimeWait: 30}}
		if got := jsonReport(t).Destinations; !cmp.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
