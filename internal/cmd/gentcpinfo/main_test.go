package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:embed testdata/layouts.txt
var layouts string

func mustTable(t *testing.T) []member {
	t.Helper()
	members, err := parseTable(table)
	if err != nil {
		t.Fatal(err)
	}
	return members
}

func TestGeneratedIsCurrent(t *testing.T) {
	want, err := generate(mustTable(t))
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../../sockdiag/ztcpinfo.go"
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Errorf("%s is not what the table says; run go generate ./sockdiag (-table +file):\n%s", path, d)
	}
}

// The table against what twelve kernels say: where each member is, in which
// kernels, and how long the struct is.
func TestTableAgainstKernels(t *testing.T) {
	rows := map[string]member{}
	for _, m := range mustTable(t) {
		if m.kind == "raw" { // the place of its parts, not a member
			continue
		}
		at, width := m.off, fmt.Sprint(m.size)
		if m.bits != 0 {
			at, width = m.off+m.bit/8, fmt.Sprintf("%d:%d", m.bit%8, m.bits)
		}
		rows[fmt.Sprintf("%d %s tcpi_%s", at, width, m.name)] = m
	}

	var kernels []release
	var names, sizes []string
	sc := bufio.NewScanner(strings.NewReader(layouts))
	for sc.Scan() {
		cols := strings.Fields(sc.Text())
		switch cols[0] {
		case "#":
		case "kernels":
			names = cols[1:]
			for _, name := range names {
				v := strings.SplitN(name, ".", 3)
				r, err := parseRelease(v[0] + "." + v[1])
				if err != nil {
					t.Fatal(err)
				}
				kernels = append(kernels, r)
			}
		case "sizes":
			sizes = cols[1:]
		default:
			key := strings.Join(cols[:3], " ")
			m, ok := rows[key]
			if !ok {
				t.Errorf("the table lacks %q", key)
				continue
			}
			delete(rows, key)
			for i, mark := range cols[3] {
				if got, want := m.inKernel(kernels[i]), mark == 'x'; got != want {
					t.Errorf("Linux %s has %q: the table says %t, the kernel %t", names[i], key, got, want)
				}
			}
		}
	}
	if len(kernels) != 12 || len(sizes) != 12 {
		t.Fatalf("%d kernels and %d sizes, want 12", len(kernels), len(sizes))
	}
	for key := range rows {
		t.Errorf("no kernel has %q", key)
	}
	for i, k := range kernels {
		end := 0
		for _, m := range mustTable(t) {
			if m.inKernel(k) {
				end = max(end, m.off+m.size, m.atLeast)
			}
		}
		if fmt.Sprint(end) != sizes[i] {
			t.Errorf("Linux %s: the table's struct has %d bytes, the kernel's %s", names[i], end, sizes[i])
		}
	}
}

// How long the struct was after each release that added to it, by iproute2's copies
// of include/uapi/linux/tcp.h.
func TestSizesByRelease(t *testing.T) {
	for _, want := range []struct {
		release release
		size    int
	}{
		{release{3, 14}, 104}, {release{3, 15}, 120}, {release{4, 1}, 136}, {release{4, 2}, 144}, {release{4, 6}, 160},
		{release{4, 9}, 168}, {release{4, 10}, 192}, {release{4, 17}, 192}, {release{4, 18}, 200}, {release{4, 19}, 224},
		{release{5, 4}, 232}, {release{6, 2}, 240}, {release{6, 7}, 248}, {release{6, 18}, 280}, {release{7, 3}, 280},
	} {
		end := 0
		for _, m := range mustTable(t) {
			if m.inKernel(want.release) {
				end = max(end, m.off+m.size)
			}
		}
		if end != want.size {
			t.Errorf("Linux %d.%d: %d bytes, want %d", want.release.major, want.release.minor, end, want.size)
		}
	}
}

func TestParseTableRefuses(t *testing.T) {
	const first = "0 4 - a A u32 -\n\tdoc.\n"
	for name, text := range map[string]string{
		"nothing":              "# only a comment\n",
		"stray documentation":  "\tdoc.\n",
		"a column missing":     "0 4 - a A u32\n\tdoc.\n",
		"no number":            "x 4 - a A u32 -\n\tdoc.\n",
		"no documentation":     "0 4 - a A u32 -\n",
		"unknown kind":         "0 4 - a A float -\n\tdoc.\n",
		"a hole":               first + "8 4 - b B u32 -\n\tdoc.\n",
		"an overlap":           first + "2 2 - b B u16 -\n\tdoc.\n",
		"not aligned":          first + "4 8 - b B u64 -\n\tdoc.\n",
		"half a release":       "0 4 - a A u32 4\n\tdoc.\n",
		"bits that do not fit": "0 1 6:4 a A u8 -\n\tdoc.\n",
		"bits with a hole":     "0 1 0:4 a A u8 -\n\tdoc.\n0 1 5:2 b B u8 -\n\tdoc.\n",
		"half a bit-field":     "0 1 3 a A u8 -\n\tdoc.\n",
	} {
		if _, err := parseTable(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	members, err := parseTable(first)
	if err != nil || len(members) != 1 || members[0].need() != 4 || members[0].doc != "doc." {
		t.Errorf("a good table: %+v, %v", members, err)
	}
}
