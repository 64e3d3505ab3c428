package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func addRow(t *testing.T, table *table, cells ...string) {
	t.Helper()
	for _, cell := range cells {
		table.cells = append(table.cells, cell...)
		table.cell()
	}
	if err := table.end(); err != nil {
		t.Fatal(err)
	}
}

// A table holds back so many rows and no more, and never makes a column narrower.
func TestTable(t *testing.T) {
	var b bytes.Buffer
	table := &table{out: bufio.NewWriterSize(&b, 16)}
	table.header([columns]string{"", "State", "R", "S", "Local", "Peer", ""}, true)
	lines := func() []string { return strings.Split(b.String(), "\n") }
	for i := range 3 * alignRows {
		local, rest := "a", ""
		switch i {
		case alignRows / 2:
			local = "longer than others"
		case alignRows * 3 / 2:
			local, rest = strings.Repeat("the longest, ", 9), "more\n\tof it"
		}
		addRow(t, table, "", "LISTEN", fmt.Sprint(i), "0", local, "b", rest)
		if waiting := i + 2 - (len(lines()) - 1); waiting > alignRows+2 {
			t.Fatalf("%d rows wait after %d", waiting, i)
		}
	}
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	if err := table.out.Flush(); err != nil {
		t.Fatal(err)
	}
	all := lines()
	wide := "a" + strings.Repeat(" ", 117) + "b"
	for line, want := range map[int]string{
		0:    "State    R S Local              Peer",
		1:    "LISTEN   0 0 a                  b",
		501:  "LISTEN 500 0 longer than others b",
		999:  "LISTEN 998 0 a                  b", // the last of the first that wait
		1000: "LISTEN  999 0 " + wide,
		1501: "LISTEN 1500 0 " + strings.Repeat("the longest, ", 9) + " b    more",
		1502: "\tof it",
		3001: "LISTEN 2999 0 " + wide, // the last: there is no wide one near
		3002: "",
	} {
		if all[line] != want {
			t.Errorf("line %d: %q, want %q", line, all[line], want)
		}
	}
	if len(all) != 3*alignRows+3 {
		t.Errorf("%d lines", len(all))
	}
}

// What is taken out can be put in again, NUL or not.
func TestTableTake(t *testing.T) {
	var b bytes.Buffer
	table := &table{out: bufio.NewWriter(&b)}
	table.header([columns]string{"Netid", "State", "R", "S", "Local", "Peer", ""}, true)
	addRow(t, table, "tcp", "ESTAB", "1", "2", "first", "peer", "")
	for _, cell := range []string{"udp", "UNCONN", "3", "4", "taken", "peer", "rest"} {
		table.cells = append(table.cells, cell...)
		table.cell()
	}
	row := table.take()
	addRow(t, table, "tcp", "ESTAB", "5", "6", "second", "peer", "")
	if err := table.add(row); err != nil {
		t.Fatal(err)
	}
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	_ = table.out.Flush()
	want := "Netid State  R S Local  Peer\n" +
		"tcp   ESTAB  1 2 first  peer\n" +
		"tcp   ESTAB  5 6 second peer\n" +
		"udp   UNCONN 3 4 taken  peer rest\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}
