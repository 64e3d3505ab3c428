package sysctl

import (
	"strconv"
	"strings"
)

// PortRange is a range of ports, both ends in it. The zero PortRange has no
// port.
type PortRange struct {
	First, Last uint16 // both in it
}

// Len returns the number of ports in the range: 0 if Last is below First, and
// for the zero PortRange.
func (r PortRange) Len() int {
	if r.Last < r.First || r.Last == 0 {
		return 0
	}
	return int(r.Last) - int(r.First) + 1
}

// String returns the range as "32768-60999".
func (r PortRange) String() string {
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// Ports is a list of ports: ranges in ascending order that do not overlap. The
// nil Ports has none. Port 0 is never in it. slices.Equal compares two.
type Ports []PortRange

// Has reports whether the port is in the list.
func (p Ports) Has(port uint16) bool {
	for _, r := range p {
		if r.First <= port && port <= r.Last {
			return port != 0
		}
	}
	return false
}

// Len returns the number of ports in the list.
func (p Ports) Len() int { return p.In(PortRange{1, 65535}) }

// In returns how many ports of the list are in the range. The range's length
// less that is what a range of local ports has to offer.
func (p Ports) In(r PortRange) int {
	n := 0
	for _, q := range p {
		n += PortRange{max(q.First, r.First), min(q.Last, r.Last)}.Len()
	}
	return n
}

// String returns the list as the kernel writes it: "8080,9000-9010".
func (p Ports) String() string {
	var b strings.Builder
	for i, r := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(r.First)))
		if r.Last != r.First {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(int(r.Last)))
		}
	}
	return b.String()
}

// HashTable is the table in which the kernel finds the connections of a
// namespace. See [TCPEhashEntries].
type HashTable struct {
	Buckets int // always a power of two

	// Shared says that the table is that of the initial network namespace,
	// which the file tells by a negative number.
	Shared bool
}

// String returns "262144", or "262144 shared".
func (h HashTable) String() string {
	s := strconv.Itoa(h.Buckets)
	if h.Shared {
		s += " shared"
	}
	return s
}

// PageTriple is three numbers of pages of memory (os.Getpagesize bytes each). See
// [TCPMem].
type PageTriple struct {
	Low      uint64 // below it memory is not looked at
	Pressure uint64 // above it buffers are kept small, until below Low again
	High     uint64 // the limit
}

// String returns the three as the kernel writes them, but with spaces.
func (p PageTriple) String() string {
	return strconv.FormatUint(p.Low, 10) + " " + strconv.FormatUint(p.Pressure, 10) + " " + strconv.FormatUint(p.High, 10)
}

// ByteTriple is the bounds of a buffer that grows by itself, in bytes. See
// [TCPRmem] and [TCPWmem].
type ByteTriple struct {
	Min     int64 // guaranteed even when memory is short
	Default int64 // at the start of a connection
	Max     int64 // the buffer grows no further
}

// String returns the three as the kernel writes them, but with spaces.
func (b ByteTriple) String() string {
	return strconv.FormatInt(b.Min, 10) + " " + strconv.FormatInt(b.Default, 10) + " " + strconv.FormatInt(b.Max, 10)
}
