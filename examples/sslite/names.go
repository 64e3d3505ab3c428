package main

import (
	"bufio"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/seed16c515c6/timewait/internal/netns"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sysctl"
)

// names are what the kernel's numbers are called, in the namespace that the Client
// looks into. Each kind is looked up when the first is needed; what has no name is
// a number.
type names struct {
	client  *sockdiag.Client
	numeric bool

	services map[string]string // of "80/tcp" "http"; nil: not read yet
	outgoing sysctl.PortRange  // ports that say nothing: the kernel's choice
	devices  map[uint32]string
	cgroups  map[uint64]string // nil: not read yet
}

func newNames(c *sockdiag.Client, numeric bool) names {
	return names{client: c, numeric: numeric, devices: map[uint32]string{}}
}

// appendPort appends a port, or the name of its service.
func (n *names) appendPort(b []byte, p sockdiag.Protocol, port uint16) []byte {
	start := len(b)
	b = strconv.AppendUint(b, uint64(port), 10)
	if n.numeric || p == sockdiag.Raw {
		return b
	}
	if n.services == nil {
		n.readServices()
	}
	if n.outgoing.First <= port && port <= n.outgoing.Last {
		return b
	}
	of := "/tcp"
	switch p {
	case sockdiag.UDP:
		of = "/udp"
	case sockdiag.SCTP:
		of = "/sctp"
	}
	b = append(b, of...)
	if name := n.services[string(b[start:])]; name != "" {
		return append(b[:start], name...)
	}
	return b[:len(b)-len(of)]
}

// readServices reads /etc/services, the first name of each port, and which ports
// are for outgoing connections.
func (n *names) readServices() {
	n.services = map[string]string{}
	if ns, err := n.client.Namespace(); err == nil {
		n.outgoing, _ = sysctl.IPLocalPortRange.GetFS(sysctl.InNamespace(int(ns.Fd())))
		_ = ns.Close()
	}
	f, err := os.Open("/etc/services")
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if fields := strings.Fields(line); len(fields) >= 2 && n.services[fields[1]] == "" {
			n.services[fields[1]] = fields[0]
		}
	}
}

// device is the name of a device of the namespace, or "if7".
func (n *names) device(index uint32) string {
	name, known := n.devices[index]
	if known {
		return name
	}
	name = "if" + strconv.FormatUint(uint64(index), 10)
	if ns, err := n.client.Namespace(); err == nil {
		_ = netns.Do(int(ns.Fd()), func() error {
			device, err := net.InterfaceByIndex(int(index))
			if err == nil {
				name = device.Name
			}
			return err
		})
		_ = ns.Close()
	}
	n.devices[index] = name
	return name
}

// cgroup is the path of a control group, or "id:42" as the filter has it.
func (n *names) cgroup(id uint64) string {
	if n.cgroups == nil {
		n.cgroups = cgroupPaths()
	}
	if path := n.cgroups[id]; path != "" {
		return path
	}
	return "id:" + strconv.FormatUint(id, 10)
}
