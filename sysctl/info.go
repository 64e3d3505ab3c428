package sysctl

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Info is what is known about a setting. Its texts are for people; they may
// change.
type Info struct {
	Name string // as sysctl(8) has it: "net.ipv4.tcp_fin_timeout"
	Path string // relative to /proc/sys: "net/ipv4/tcp_fin_timeout"
	// Summary is what it is, in at most 60 characters and without a full stop.
	Summary string
	Doc     string // what it really does, in a few sentences

	// Unit is that of the number in the file, such as "seconds"; "enum",
	// "switch", "mask" or "name" if it is no quantity.
	Unit string

	Default string // the kernel's own, or how it is computed; see Key.DefaultFS
	Range   string // what a write accepts

	// Since is the first Linux release with it, such as "2.4"; "2.2" stands
	// for earlier ones too. A stable series can have got it later, which this
	// does not tell.
	Since   string
	Removed string // the first Linux release without it; mostly empty
	Scope   Scope  // what one value is for
	Risk    string // what changing it can break
}

// Scope tells what one value of a setting is for. The zero Scope is neither.
type Scope uint8

const (
	// Namespace means that each network namespace has a value of its own.
	Namespace Scope = iota + 1
	// Host means that there is one value for the whole kernel. Its file may
	// be missing in all but the initial network namespace.
	Host
)

// String returns "namespace" or "host", or "Scope(7)" for another value.
func (s Scope) String() string {
	switch s {
	case Namespace:
		return "namespace"
	case Host:
		return "host"
	}
	return "Scope(" + strconv.Itoa(int(s)) + ")"
}

// Keys yields every key of this package, in the order of their names, whether
// or not the running kernel has it. The sequence can be ranged over any number
// of times.
func Keys() iter.Seq[AnyKey] {
	return slices.Values(keys[:])
}

// Lookup finds a key by its name ("net.ipv4.tcp_fin_timeout"), its path
// ("net/ipv4/tcp_fin_timeout") or the whole path
// ("/proc/sys/net/ipv4/tcp_fin_timeout"). It reports false for a name that this
// package has no Key for.
func Lookup(name string) (AnyKey, bool) {
	path := strings.TrimPrefix(name, "/proc/sys/")
	for _, k := range keys {
		if info := k.Info(); info.Path == path || info.Name == name {
			return k, true
		}
	}
	return nil, false
}
