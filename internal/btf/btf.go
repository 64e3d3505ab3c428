// Package btf reads the layout of structs and the values of enumerators from
// BTF, the type information that a Linux kernel carries about itself
// (Documentation/bpf/btf.rst). Tests use it to ask the running kernel whether
// the offsets and numbers in this module are still right.
package btf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
)

// KernelPath is where a kernel built with CONFIG_DEBUG_INFO_BTF shows its own BTF,
// since Linux 5.4.
const KernelPath = "/sys/kernel/btf/vmlinux"

// modulePath is the folder of KernelPath, where modules show theirs too, since
// Linux 5.11 (CONFIG_DEBUG_INFO_BTF_MODULES).
const modulePath = "/sys/kernel/btf/"

// ErrNotFound is the error of a look-up of a type that the BTF does not have.
var ErrNotFound = errors.New("btf: no such type")

// The kinds of types, BTF_KIND_* of include/uapi/linux/btf.h.
const (
	kindInt       = 1
	kindPtr       = 2
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindFwd       = 7
	kindTypedef   = 8
	kindVolatile  = 9
	kindConst     = 10
	kindRestrict  = 11
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindDatasec   = 15
	kindFloat     = 16
	kindDeclTag   = 17
	kindTypeTag   = 18
	kindEnum64    = 19
)

const (
	magic      = 0xeb9f
	headerLen  = 24 // up to and including str_len
	typeLen    = 12 // struct btf_type
	maxNesting = 32 // typedefs, qualifiers and arrays around one type
)

// Spec is one BTF blob, parsed. It keeps the bytes it was made from.
type Spec struct {
	order   binary.ByteOrder
	types   []byte
	strings []byte
	offsets []uint32 // by type id: where in types it starts; id 0 is void
	pointer uint32   // bytes of a pointer
}

// Struct is the layout of a struct or union.
type Struct struct {
	Name    string
	Size    uint32 // bytes
	Members []Member
}

// Member is one member of a Struct.
type Member struct {
	Name string // empty: an unnamed struct or union
	// Offset is in bits from the start of the struct. A bit-field's counts as
	// its machine does, so the first one declared in its unit has the lowest
	// offset in either byte order.
	Offset uint32
	Bits   uint32 // width of a bit-field; zero: not a bit-field
	Size   uint32 // bytes of its type; zero: unknown or incomplete
}

// Member returns the member of that name.
func (s Struct) Member(name string) (Member, bool) {
	for _, m := range s.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// LoadKernel reads the BTF of the running kernel. The error is fs.ErrNotExist
// where the kernel shows none.
func LoadKernel() (*Spec, error) { return Load(KernelPath) }

// LoadModule reads the BTF of a loaded module of the running kernel together with
// the kernel's. The error is fs.ErrNotExist where there is none: the module may be
// built in.
func LoadModule(name string) (*Spec, error) {
	b, err := os.ReadFile(modulePath + name)
	if err != nil {
		return nil, err
	}
	kernel, err := LoadKernel()
	if err != nil {
		return nil, err
	}
	return kernel.Extend(b)
}

// Load reads a file of raw BTF: not an ELF file, nor the BTF of a module (see
// Extend).
func Load(path string) (*Spec, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(b)
}

// Parse reads raw BTF of either byte order. It checks that every type lies
// within its section; what a type refers to is checked when it is looked up.
func Parse(b []byte) (*Spec, error) {
	s, err := sections(b)
	if err != nil {
		return nil, err
	}
	return s, s.index()
}

// Extend returns s with the types of a module, whose raw BTF b counts its types
// and strings on from those of the kernel, s.
func (s *Spec) Extend(b []byte) (*Spec, error) {
	m, err := sections(b)
	if err != nil {
		return nil, err
	}
	if m.order != s.order {
		return nil, errors.New("btf: module and kernel have different byte orders")
	}
	m.types = slices.Concat(s.types, m.types)
	m.strings = slices.Concat(s.strings, m.strings)
	return m, m.index()
}

// sections finds the types and strings of raw BTF.
func sections(b []byte) (*Spec, error) {
	if len(b) < headerLen {
		return nil, errors.New("btf: too short for a header")
	}
	s := &Spec{pointer: 8}
	switch {
	case binary.LittleEndian.Uint16(b) == magic:
		s.order = binary.LittleEndian
	case binary.BigEndian.Uint16(b) == magic:
		s.order = binary.BigEndian
	default:
		return nil, errors.New("btf: no BTF magic")
	}
	if v := b[2]; v != 1 {
		return nil, fmt.Errorf("btf: version %d is not known", v)
	}
	hdr := s.order.Uint32(b[4:])
	if hdr < headerLen {
		return nil, fmt.Errorf("btf: header of %d bytes", hdr)
	}
	var err error
	if s.types, err = section(b, hdr, s.order.Uint32(b[8:]), s.order.Uint32(b[12:])); err != nil {
		return nil, err
	}
	if s.strings, err = section(b, hdr, s.order.Uint32(b[16:]), s.order.Uint32(b[20:])); err != nil {
		return nil, err
	}
	return s, nil
}

func section(b []byte, hdr, off, size uint32) ([]byte, error) {
	start := uint64(hdr) + uint64(off)
	end := start + uint64(size)
	if end > uint64(len(b)) {
		return nil, fmt.Errorf("btf: section of bytes %d to %d in %d bytes", start, end, len(b))
	}
	return b[start:end], nil
}

// index finds the start of every type, and the size of a pointer.
func (s *Spec) index() error {
	s.offsets = append(make([]uint32, 0, len(s.types)/(2*typeLen)+1), 0)
	for off := 0; off < len(s.types); {
		if len(s.types)-off < typeLen {
			return errors.New("btf: a type is cut off")
		}
		t := s.at(uint32(off))
		n := t.trailer()
		if n < 0 {
			return fmt.Errorf("btf: kind %d is not known", t.kind)
		}
		if len(s.types)-off-typeLen < n {
			return errors.New("btf: a type is cut off")
		}
		// A pointer is as wide as a long on every machine Linux runs on.
		if t.kind == kindInt && (s.is(t.name, "long unsigned int") || s.is(t.name, "unsigned long")) {
			s.pointer = t.size
		}
		s.offsets = append(s.offsets, uint32(off))
		off += typeLen + n
	}
	return nil
}

// typ is a struct btf_type and where its kind-specific data starts.
type typ struct {
	name uint32
	kind uint32
	vlen uint32
	flag bool
	size uint32 // or the id of another type
	data uint32
}

func (s *Spec) at(off uint32) typ {
	b := s.types[off:]
	info := s.order.Uint32(b[4:])
	return typ{
		name: s.order.Uint32(b),
		kind: info >> 24 & 0x1f,
		vlen: info & 0xffff,
		flag: info>>31 == 1,
		size: s.order.Uint32(b[8:]),
		data: off + typeLen,
	}
}

// trailer is the length of what follows the btf_type; -1 for an unknown kind,
// behind which nothing can be found.
func (t typ) trailer() int {
	switch t.kind {
	case kindPtr, kindFwd, kindTypedef, kindVolatile, kindConst, kindRestrict, kindFunc, kindFloat, kindTypeTag:
		return 0
	case kindInt, kindVar, kindDeclTag:
		return 4
	case kindArray:
		return 12
	case kindEnum, kindFuncProto:
		return 8 * int(t.vlen)
	case kindStruct, kindUnion, kindDatasec, kindEnum64:
		return 12 * int(t.vlen)
	}
	return -1
}

// is reports whether the string at off is want, without making a string of it.
func (s *Spec) is(off uint32, want string) bool {
	end := uint64(off) + uint64(len(want))
	return end < uint64(len(s.strings)) && s.strings[end] == 0 && string(s.strings[off:end]) == want
}

func (s *Spec) string(off uint32) (string, error) {
	if uint64(off) >= uint64(len(s.strings)) {
		return "", fmt.Errorf("btf: string at %d of %d", off, len(s.strings))
	}
	for i, c := range s.strings[off:] {
		if c == 0 {
			return string(s.strings[off:][:i]), nil
		}
	}
	return "", errors.New("btf: a string does not end")
}

// sizeOf returns the bytes of a type; zero where it has no size or the BTF makes
// no sense.
func (s *Spec) sizeOf(id uint32) uint32 {
	count := uint64(1)
	for range maxNesting {
		if id == 0 || uint64(id) >= uint64(len(s.offsets)) {
			return 0
		}
		size := uint64(0)
		switch t := s.at(s.offsets[id]); t.kind {
		case kindInt, kindStruct, kindUnion, kindEnum, kindEnum64, kindFloat:
			size = uint64(t.size)
		case kindPtr:
			size = uint64(s.pointer)
		case kindArray:
			id = s.order.Uint32(s.types[t.data:])
			count *= uint64(s.order.Uint32(s.types[t.data+8:]))
			if count > 1<<31 {
				return 0
			}
			continue
		case kindTypedef, kindVolatile, kindConst, kindRestrict, kindTypeTag:
			id = t.size
			continue
		}
		if size *= count; size > 1<<31 {
			return 0
		}
		return uint32(size)
	}
	return 0
}

// Struct returns the layout of the first struct or union of that name.
func (s *Spec) Struct(name string) (Struct, error) {
	for _, off := range s.offsets[1:] {
		t := s.at(off)
		if (t.kind != kindStruct && t.kind != kindUnion) || !s.is(t.name, name) {
			continue
		}
		st := Struct{Name: name, Size: t.size, Members: make([]Member, t.vlen)}
		for i := range st.Members {
			b := s.types[t.data+12*uint32(i):]
			m := Member{Offset: s.order.Uint32(b[8:]), Size: s.sizeOf(s.order.Uint32(b[4:]))}
			if t.flag {
				m.Bits, m.Offset = m.Offset>>24, m.Offset&0xffffff
			}
			var err error
			if m.Name, err = s.string(s.order.Uint32(b)); err != nil {
				return Struct{}, err
			}
			st.Members[i] = m
		}
		return st, nil
	}
	return Struct{}, fmt.Errorf("%w: struct %s", ErrNotFound, name)
}

// Enum returns the enumerators of the first enum of that name. Enumerators of
// 32 bits count as signed: encoders before 1.24 do not say which they are.
func (s *Spec) Enum(name string) (map[string]int64, error) {
	for _, off := range s.offsets[1:] {
		t := s.at(off)
		if (t.kind != kindEnum && t.kind != kindEnum64) || !s.is(t.name, name) {
			continue
		}
		values := make(map[string]int64, t.vlen)
		for i := range t.vlen {
			nameOff, v := s.enumerator(t, i)
			n, err := s.string(nameOff)
			if err != nil {
				return nil, err
			}
			values[n] = v
		}
		return values, nil
	}
	return nil, fmt.Errorf("%w: enum %s", ErrNotFound, name)
}

// Enumerator returns the value of an enumerator of any enum, named or not.
func (s *Spec) Enumerator(name string) (int64, error) {
	for _, off := range s.offsets[1:] {
		t := s.at(off)
		if t.kind != kindEnum && t.kind != kindEnum64 {
			continue
		}
		for i := range t.vlen {
			if nameOff, v := s.enumerator(t, i); s.is(nameOff, name) {
				return v, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: enumerator %s", ErrNotFound, name)
}

func (s *Spec) enumerator(t typ, i uint32) (nameOff uint32, value int64) {
	if t.kind == kindEnum {
		b := s.types[t.data+8*i:]
		return s.order.Uint32(b), int64(int32(s.order.Uint32(b[4:])))
	}
	b := s.types[t.data+12*i:]
	return s.order.Uint32(b), int64(uint64(s.order.Uint32(b[8:]))<<32 | uint64(s.order.Uint32(b[4:])))
}
