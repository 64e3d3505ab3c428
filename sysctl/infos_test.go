package sysctl

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// One entry for each key, one key for each entry, and the tables in order.
func TestInfos(t *testing.T) {
	entries := make(map[string]int)
	for _, table := range infos {
		if !slices.IsSortedFunc(table, func(a, b Info) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("the table that begins with %s is not in the order of the names", table[0].Name)
		}
		for _, entry := range table {
			entries[entry.Name]++
			if entry.Path != "" {
				t.Errorf("%s: the entry has a path, which should follow from the name", entry.Name)
			}
		}
	}
	for name, n := range entries {
		if n != 1 {
			t.Errorf("%s has %d entries", name, n)
		}
		if _, ok := Lookup(name); !ok {
			t.Errorf("%s has an entry and no key", name)
		}
	}
	for key := range Keys() {
		if name := key.Info().Name; entries[name] == 0 {
			t.Errorf("%s has no entry", name)
		}
	}
}

// A key whose entry was forgotten works like any other.
func TestForgottenInfo(t *testing.T) {
	key := newKey[int]("net.ipv4.tcp_no_such_thing", parseInt)
	want := Info{Name: "net.ipv4.tcp_no_such_thing", Path: "net/ipv4/tcp_no_such_thing"}
	if got := key.Info(); got != want {
		t.Errorf("Info() = %+v, want %+v", got, want)
	}
	proc := fstest.MapFS{"net/ipv4/tcp_no_such_thing": {Data: []byte("7\n")}}
	if got, err := key.GetFS(proc); err != nil || got != 7 {
		t.Errorf("GetFS = %d, %v, want 7", got, err)
	}
	_, err := key.GetFS(fstest.MapFS{"net/ipv4/other": {}})
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "came with") {
		t.Errorf("without the file: %v, want fs.ErrNotExist and no release", err)
	}
}
