package btf_test

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/internal/btf"
)

// What the C compilers of two machines make of testdata/layout.c.
var (
	//go:embed testdata/layout.le.btf
	littleEndian []byte
	//go:embed testdata/layout.be.btf
	bigEndian []byte
)

func TestParse(t *testing.T) {
	for name, blob := range map[string][]byte{"little-endian": littleEndian, "big-endian": bigEndian} {
		t.Run(name, func(t *testing.T) {
			spec, err := btf.Parse(blob)
			if err != nil {
				t.Fatal(err)
			}
			got, err := spec.Struct("sample")
			if err != nil {
				t.Fatal(err)
			}
			// By the System V ABI of both machines; see layout.c.
			want := btf.Struct{Name: "sample", Size: 144, Members: []btf.Member{
				{Name: "a", Offset: 0, Size: 1},
				{Name: "lo", Offset: 8, Bits: 4, Size: 1},
				{Name: "hi", Offset: 12, Bits: 4, Size: 1},
				{Name: "pointer", Offset: 8 * 8, Size: 8},
				{Name: "word", Offset: 8 * 16, Size: 4},
				{Name: "matrix", Offset: 8 * 20, Size: 4 * 3 * 5},
				{Name: "colour", Offset: 8 * 80, Size: 4},
				{Name: "both", Offset: 8 * 88, Size: 16},
				{Name: "ahead", Offset: 8 * 104, Size: 8},
				{Name: "callback", Offset: 8 * 112, Size: 8},
				{Name: "one", Offset: 8*120 + 0, Bits: 2, Size: 4},
				{Name: "two", Offset: 8*120 + 2, Bits: 2, Size: 4},
				{Name: "four", Offset: 8*120 + 4, Bits: 4, Size: 4},
				{Name: "rest", Offset: 8*120 + 8, Bits: 24, Size: 4},
				{Name: "last", Offset: 8 * 128, Size: 8},
				{Name: "", Offset: 8 * 136, Size: 2},
			}}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("struct sample (-want +got):\n%s", d)
			}
			union, err := spec.Struct("both")
			if err != nil || union.Size != 16 || len(union.Members) != 2 || union.Members[1].Offset != 0 {
				t.Errorf("union both = %+v, %v", union, err)
			}
			values, err := spec.Enum("colour")
			if d := cmp.Diff(map[string]int64{"RED": 0, "GREEN": 7, "MINUS": -2}, values); d != "" || err != nil {
				t.Errorf("enum colour (-want +got):\n%s%v", d, err)
			}
			if v, err := spec.Enumerator("NAMELESS"); v != 3 || err != nil {
				t.Errorf("NAMELESS = %d, %v; want 3", v, err)
			}
			if m, ok := got.Member("two"); !ok || m.Offset != 962 {
				t.Errorf("Member(two) = %+v, %t", m, ok)
			}
			if m, ok := got.Member("three"); ok {
				t.Errorf("Member(three) = %+v, want none", m)
			}
			_, errStruct := spec.Struct("ahead") // declared, never defined
			_, errEnum := spec.Enum("sample")
			_, errValue := spec.Enumerator("BLUE")
			for _, err := range []error{errStruct, errEnum, errValue} {
				if !errors.Is(err, btf.ErrNotFound) {
					t.Errorf("error %v, want ErrNotFound", err)
				}
			}
		})
	}
}

// build makes BTF from types of 32-bit words and one string section.
func build(order binary.AppendByteOrder, strings string, words ...uint32) []byte {
	b := order.AppendUint16(nil, 0xeb9f)
	b = append(b, 1, 0)
	for _, v := range []uint32{24, 0, uint32(4 * len(words)), uint32(4 * len(words)), uint32(len(strings))} {
		b = order.AppendUint32(b, v)
	}
	for _, w := range words {
		b = order.AppendUint32(b, w)
	}
	return append(b, strings...)
}

func info(kind, vlen uint32) uint32 { return kind<<24 | vlen }

// The kinds that gcc 12 does not write, by Documentation/bpf/btf.rst.
func TestNewerKinds(t *testing.T) {
	const (
		big = 1 // offsets into the strings
		tag = 5
		st  = 9
	)
	for name, order := range map[string]binary.AppendByteOrder{
		"little-endian": binary.LittleEndian, "big-endian": binary.BigEndian,
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := btf.Parse(build(order, "\x00BIG\x00tag\x00st\x00",
				0, info(19, 1), 8, big, 0x89abcdef, 0x01234567, // 1: ENUM64, low word first
				tag, info(18, 0), 1, // 2: TYPE_TAG of 1
				tag, info(17, 0), 4, ^uint32(0), // 3: DECL_TAG of 4
				st, info(4, 1), 8, big, 2, 0, // 4: STRUCT with a member of 2
			))
			if err != nil {
				t.Fatal(err)
			}
			if v, err := spec.Enumerator("BIG"); v != 0x0123456789abcdef || err != nil {
				t.Errorf("BIG = %#x, %v", v, err)
			}
			s, err := spec.Struct("st")
			want := btf.Struct{Name: "st", Size: 8, Members: []btf.Member{{Name: "BIG", Size: 8}}}
			if d := cmp.Diff(want, s); d != "" || err != nil {
				t.Errorf("struct st (-want +got):\n%s%v", d, err)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	le := binary.LittleEndian
	edit := func(off int, v uint32) []byte {
		b := append([]byte(nil), littleEndian...)
		le.PutUint32(b[off:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":            nil,
		"half a header":    littleEndian[:20],
		"no magic":         edit(0, 0),
		"version 2":        edit(0, 0x0002eb9f),
		"short header":     edit(4, 8),
		"long header":      edit(4, ^uint32(0)),
		"types outside":    edit(12, 1<<20),
		"strings outside":  edit(20, ^uint32(0)),
		"types cut":        edit(12, le.Uint32(littleEndian[12:])-2),
		"unknown kind":     build(le, "\x00", 0, info(31, 0), 0),
		"half a type":      build(le, "\x00", 0, info(2, 0)),
		"members cut":      build(le, "\x00", 0, info(4, 3), 8, 0, 0, 0),
		"array of nothing": build(le, "\x00", 0, info(3, 0), 0),
	} {
		if _, err := btf.Parse(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}

	// A typedef of itself has no size, and does not hang.
	loop, err := btf.Parse(build(le, "\x00s\x00", 0, info(8, 0), 1, 1, info(4, 1), 4, 0, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := loop.Struct("s"); err != nil || s.Members[0].Size != 0 {
		t.Errorf("a member of a looping type: %+v, %v", s, err)
	}
	// A name outside of the strings is an error of the look-up.
	stray, err := btf.Parse(build(le, "\x00s\x00", 1, info(4, 1), 4, 99, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := stray.Struct("s"); err == nil {
		t.Errorf("a stray name gave %+v", s)
	}
}

// A module's types and strings are numbered on from the kernel's.
func TestExtend(t *testing.T) {
	le := binary.LittleEndian
	kernel, err := btf.Parse(build(le, "\x00word\x00", 1, info(1, 0), 4, 32))
	if err != nil {
		t.Fatal(err)
	}
	module := build(le, "s\x00m\x00", 6, info(4, 1), 4, 8, 1, 0)
	both, err := kernel.Extend(module)
	if err != nil {
		t.Fatal(err)
	}
	got, err := both.Struct("s")
	want := btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "m", Size: 4}}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
	if _, err := kernel.Struct("s"); !errors.Is(err, btf.ErrNotFound) {
		t.Errorf("the kernel by itself: %v", err)
	}
	if _, err := kernel.Extend(build(binary.BigEndian, "s\x00m\x00", 6, info(4, 1), 4, 8, 1, 0)); err == nil {
		t.Error("no error for another byte order")
	}
	if _, err := kernel.Extend(module[:30]); err == nil {
		t.Error("no error for a module cut off")
	}
}

func TestLoad(t *testing.T) {
	if _, err := btf.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want fs.ErrNotExist", err)
	}
}

// kernel returns the running kernel's BTF, or skips the test where it has none.
func kernel(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := btf.LoadKernel()
	if errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("TIMEWAIT_REQUIRE") == "1" {
			t.Fatalf("required here: %v", err)
		}
		t.Skipf("the running system shows no kernel BTF: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// Things of the kernel that are fixed by its promise to user space or by an RFC.
func TestKernel(t *testing.T) {
	spec := kernel(t)
	for name, want := range map[string]btf.Struct{
		"nlmsghdr": {Name: "nlmsghdr", Size: 16, Members: []btf.Member{ // linux/netlink.h
			{Name: "nlmsg_len", Offset: 0, Size: 4},
			{Name: "nlmsg_type", Offset: 32, Size: 2},
			{Name: "nlmsg_flags", Offset: 48, Size: 2},
			{Name: "nlmsg_seq", Offset: 64, Size: 4},
			{Name: "nlmsg_pid", Offset: 96, Size: 4},
		}},
		"udphdr": {Name: "udphdr", Size: 8, Members: []btf.Member{ // RFC 768
			{Name: "source", Offset: 0, Size: 2},
			{Name: "dest", Offset: 16, Size: 2},
			{Name: "len", Offset: 32, Size: 2},
			{Name: "check", Offset: 48, Size: 2},
		}},
	} {
		got, err := spec.Struct(name)
		if err != nil {
			t.Error(err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("struct %s (-want +got):\n%s", name, d)
		}
	}
	tcphdr, err := spec.Struct("tcphdr")
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := tcphdr.Member("doff"); !ok || m.Bits != 4 || m.Offset/8 != 12 {
		t.Errorf("tcphdr.doff = %+v; RFC 9293 has four bits in byte 12", m)
	}
	for name, want := range map[string]int64{
		"TCP_ESTABLISHED": 1, "TCP_LISTEN": 10, // net/tcp_states.h
		"IPPROTO_TCP": 6, // IANA
	} {
		if got, err := spec.Enumerator(name); got != want || err != nil {
			t.Errorf("%s = %d, %v; want %d", name, got, err, want)
		}
	}
	if v, err := spec.Enum("tcp_ca_state"); err != nil || v["TCP_CA_Loss"] != 4 {
		t.Errorf("enum tcp_ca_state = %v, %v", v, err)
	}
}

// FuzzParse: whatever the bytes, no panic, and what is found keeps within what
// was given.
func FuzzParse(f *testing.F) {
	f.Add(littleEndian)
	f.Add(bigEndian)
	f.Add(build(binary.BigEndian, "\x00s\x00", 0, info(8, 0), 1, 1, info(4, 1), 4, 0, 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		spec, err := btf.Parse(b)
		if err != nil {
			return
		}
		for _, name := range []string{"sample", "both", "s", ""} {
			s, err := spec.Struct(name)
			if err != nil {
				continue
			}
			if s.Name != name || 12*len(s.Members) > len(b) {
				t.Errorf("Struct(%q) of %d bytes: name %q, %d members", name, len(b), s.Name, len(s.Members))
			}
		}
		if values, err := spec.Enum("colour"); err == nil && 8*len(values) > len(b) {
			t.Errorf("Enum of %d bytes: %d values", len(b), len(values))
		}
		if _, err := spec.Enumerator("NAMELESS"); err != nil && !errors.Is(err, btf.ErrNotFound) {
			t.Errorf("Enumerator: %v", err)
		}
	})
}
