package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is what readCpio finds, header fields in the order of the kernel's
// buffer-format.rst.
type entry struct {
	name   string
	fields [13]uint64
	data   string
}

const (
	fieldIno, fieldMode, fieldLinks, fieldSize, fieldName, fieldCheck = 0, 1, 4, 6, 11, 12
)

func readCpio(t *testing.T, b []byte) (entries []entry) {
	t.Helper()
	take := func(n int) string {
		if n > len(b) {
			t.Fatalf("%d bytes are left, want %d", len(b), n)
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	total := len(b)
	align := func() {
		if pad := take(-(total - len(b)) & 3); strings.Trim(pad, "\x00") != "" {
			t.Fatalf("padding of %q", pad)
		}
	}
	for {
		var e entry
		if magic := take(6); magic != "070701" {
			t.Fatalf("magic %q", magic)
		}
		for i := range e.fields {
			var err error
			if e.fields[i], err = strconv.ParseUint(take(8), 16, 32); err != nil {
				t.Fatal(err)
			}
		}
		name := take(int(e.fields[fieldName]))
		e.name = strings.TrimSuffix(name, "\x00")
		if len(name) != len(e.name)+1 {
			t.Fatalf("name %q", name)
		}
		align()
		e.data = take(int(e.fields[fieldSize]))
		align()
		if e.name == "TRAILER!!!" {
			if len(b) > 0 {
				t.Errorf("%d bytes behind the trailer", len(b))
			}
			return entries
		}
		entries = append(entries, e)
	}
}

func TestInitramfs(t *testing.T) {
	var b bytes.Buffer
	err := writeInitramfs(&b, []file{
		{"init", 0o755, []byte("12345")},
		{"src/a/a.test", 0o755, []byte("1234")},
		{"src/a/testdata/x", 0o644, nil},
		{"src/b/b.test", 0o644, []byte("1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	inodes := map[uint64]bool{}
	for _, e := range readCpio(t, b.Bytes()) {
		got = append(got, fmt.Sprintf("%o %s %q", e.fields[fieldMode], e.name, e.data))
		if e.fields[fieldCheck] != 0 || e.fields[fieldLinks] != 1 {
			t.Errorf("%s: header %v", e.name, e.fields)
		}
		inodes[e.fields[fieldIno]] = true
	}
	want := []string{
		`100755 init "12345"`,
		`40755 src ""`, `40755 src/a ""`, `100755 src/a/a.test "1234"`,
		`40755 src/a/testdata ""`, `100644 src/a/testdata/x ""`,
		`40755 src/b ""`, `100644 src/b/b.test "1"`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(inodes) != len(got) {
		t.Errorf("%d inode numbers for %d entries", len(inodes), len(got))
	}
	if err := writeInitramfs(failing{}, []file{{"init", 0o755, nil}}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
