package main

import (
	"regexp"
	"strconv"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// operation is a question about sockets, which contenders answer.
type operation struct {
	name       string
	timeWait   bool        // asked where TIME_WAIT dominates
	apart      bool        // asked where each socket is to a destination of its own
	contenders []contender // the first is the floor
}

// contender is one way to answer.
type contender struct {
	name    string
	program string   // programFloor, programPeer, or one that is installed
	args    []string // localEnd and remoteEnd stand for those of a connection
	rowless bool     // asks for sockets that are not there
	ops     int      // operations a run; 0: what fits the number of sockets
	most    size     // not measured with more sockets; 0: no limit
	promise promise
}

const (
	programFloor = "floor" // floor/floor.c
	programPeer  = "peer"  // this executable, as the role of that name
)

// What measures itself prints a result, the others are measured as processes.
func (c contender) measuresItself() bool {
	return c.program == programFloor || c.program == programPeer
}

const (
	localEnd  = "LOCAL"
	remoteEnd = "REMOTE"
)

// The ports that are listened on. Each has an equal part of the connections.
const (
	firstPort = 2000
	portCount = 8
)

// alonePort is that of the connection that is looked up. To find one, some look at
// its ports alone.
const alonePort = firstPort - 1

// somePort is the port of one connection in eight.
const somePort = firstPort + 3

// Of these, the first that is free is the port of a process's connections that are
// each to another address.
const (
	apartPort = 50000
	lastPort  = 60999
)

// big is what takes too long of a million sockets.
const big = 400 * k

var operations = []operation{
	{name: "Dump, headers", contenders: []contender{
		floor(),
		ours(1.10, 1.05, "dump"),
		{name: "vishvananda/netlink SocketDiagTCP", program: programPeer, args: []string{"vishvananda"}},
		{name: "ss -Htan", program: "ss", args: []string{"-Htan"}},
		{name: "netstat -tan", program: "netstat", args: []string{"-tan"}, most: big},
	}},
	{name: "Dump, tcp_info", contenders: []contender{
		floor("-x", "2"),
		ours(1.10, 1.05, "dump", "-x", "2"),
		{name: "vishvananda/netlink SocketDiagTCPInfo", program: programPeer, args: []string{"vishvananda-info"}, most: big},
		{name: "ss -Htani", program: "ss", args: []string{"-Htani"}, most: big},
	}},
	{name: "Count, ESTABLISHED dominates", contenders: []contender{
		floor("-s", inTables),
		walk(tcpstate.SynSent.Set()),
		countAll(0.25, 0.15, "-s", inTables),
		{name: "mdlayher/netlink Execute", program: programPeer, args: []string{"mdlayher", "-s", inTables}, most: big},
		{name: "prometheus/procfs NetTCP (/proc/net/tcp)", program: programPeer, args: []string{"procfs"}, most: big},
		{name: "ss -Htan, counted by awk", program: "sh", args: []string{"-c", "ss -Htan | awk '{n[$1]++} END {for (s in n) print n[s], s}'"}},
		{name: "ss -s", program: "ss", args: []string{"-s"}},
	}},
	{name: "Count, TIME_WAIT dominates", timeWait: true, contenders: []contender{
		floor("-s", inTables),
		walk(tcpstate.SynSent.Set()),
		countAll(0.35, 0.30, "-s", inTables),
		{name: "mdlayher/netlink Execute", program: programPeer, args: []string{"mdlayher", "-s", inTables}},
		{name: "ss -s", program: "ss", args: []string{"-s"}},
	}},
	{name: "Count, BOUND_INACTIVE too", contenders: []contender{
		floor(),
		walk(tcpstate.SetOf(tcpstate.SynSent, tcpstate.BoundInactive)),
		countAll(0.25, 0.15),
	}},
	{name: "Count, BOUND_INACTIVE too, TIME_WAIT dominates", timeWait: true, contenders: []contender{
		floor(),
		walk(tcpstate.SetOf(tcpstate.SynSent, tcpstate.BoundInactive)),
		countAll(0.35, 0.30),
	}},
	{name: "Count, IPv4 ESTABLISHED", contenders: []contender{
		floor("-f", "2", "-s", "2"),
		ours(1.10, 0, "count", "-f", "2", "-s", "2"),
		{name: "ss -Htn4 state established", program: "ss", args: []string{"-Htn4", "state", "established"}},
	}},
	{name: "Dump, one remote port", contenders: []contender{
		floor("-p", strconv.Itoa(somePort)),
		ours(1.15, 0, "dump", "-p", strconv.Itoa(somePort)),
		{name: "ss -Htan dport", program: "ss", args: []string{"-Htan", "dport", "=", ":" + strconv.Itoa(somePort)}},
	}},
	{name: "health.Take", contenders: []contender{floor(), take(1.35)}},
	{name: "health.Take, TIME_WAIT dominates", timeWait: true, contenders: []contender{floor(), take(1.45)}},
	{name: "health.Take, as many destinations", apart: true, contenders: []contender{floor(), take(1.35)}},
	{name: "Lookup", contenders: []contender{
		{name: "floor", program: programFloor, args: []string{"-l", localEnd, "-r", remoteEnd}, ops: lookups},
		{
			name: "timewait", program: programPeer, args: []string{"lookup", "-l", localEnd, "-r", remoteEnd}, ops: lookups,
			promise: promise{ratio: 1.5, goal: 1.3, anySize: true},
		},
		{name: "vishvananda/netlink SocketGet", program: programPeer, args: []string{"vishvananda-get", "-l", localEnd, "-r", remoteEnd}},
	}},
}

// inTables is the mask of the states that ss, netstat and /proc/net/tcp show. What is
// merely bound besides, in BOUND_INACTIVE, is in a table of its own and no counter tells
// of it: to count it too is a question of its own, and the promise is the same.
var inTables = strconv.FormatUint(uint64(tcpstate.All.Without(tcpstate.BoundInactive)), 10)

// lookups is how many of them take about 10 ms.
const lookups = 2000

func floor(args ...string) contender {
	return contender{name: "floor", program: programFloor, args: args}
}

func ours(ratio, goal float64, args ...string) contender {
	return contender{name: "timewait", program: programPeer, args: args, promise: promise{ratio: ratio, goal: goal}}
}

// walk is a floor that asks for states that no socket is in: what the kernel takes to
// go through the tables that it needs for them. No count takes less that includes a
// state of the table of connections which no counter of the kernel's tells of.
func walk(states tcpstate.Set) contender {
	c := floor("-s", strconv.FormatUint(uint64(states), 10))
	c.name, c.rowless = "the walk, no row", true
	return c
}

// countAll is promised in multiples of the walk as well, for where that alone takes more
// than the promise.
func countAll(ratio, goal float64, args ...string) contender {
	c := ours(ratio, goal, append([]string{"count"}, args...)...)
	c.promise.walk = 1.25
	return c
}

// take is promised where sockets are what takes the time, not the settings and
// counters that it reads as well. (A TIME_WAIT takes the kernel less time than other
// sockets, and Take no less.)
func take(ratio float64) contender {
	c := ours(ratio, 0, "take")
	c.promise.from = 100 * k
	return c
}

// selected is those operations and contenders that the expression matches, with
// what they are compared to.
func selected(only *regexp.Regexp) []operation {
	var ops []operation
	for _, op := range operations {
		matching := op.contenders[:1:1]
		matches := only.MatchString(op.key(op.contenders[0]))
		for _, c := range op.contenders[1:] {
			match := only.MatchString(op.key(c))
			if match || c.rowless {
				matching = append(matching, c)
			}
			matches = matches || match
		}
		if matches {
			op.contenders = matching
			ops = append(ops, op)
		}
	}
	return ops
}

func (o operation) key(c contender) string { return o.name + ": " + c.name }

// in reports whether the operation is asked in the scene.
func (o operation) in(s scene) bool { return o.timeWait == s.TimeWait && o.apart == s.Apart }

// in reports whether the contender is measured in the scene.
func (c contender) in(s scene) bool { return c.most == 0 || s.Size <= c.most }

// arguments is the command line of the contender in the scene, with the ends of a
// connection.
func (c contender) arguments(s scene, local, remote string) []string {
	args := make([]string, 0, len(c.args)+3)
	for _, a := range c.args {
		switch a {
		case localEnd:
			a = local
		case remoteEnd:
			a = remote
		}
		args = append(args, a)
	}
	if !c.measuresItself() {
		return args
	}
	ops := c.ops
	if ops == 0 {
		ops = s.ops()
	}
	args = append(args, "-n", strconv.Itoa(ops))
	if s.cold() && c.ops == 0 {
		args = append(args, "-c")
	}
	return args
}
