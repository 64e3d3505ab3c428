package sockdiag

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSONError is the error of the UnmarshalJSON methods: what is wrong and where.
type JSONError struct {
	Field string // the path of the value, "tcp_info.rtt_us" or "unknown[2].data"; empty: the whole
	Err   error  // never nil; a *TextError or *tcpstate.ParseError for a text that names no value
}

func (e *JSONError) Error() string {
	if e.Field == "" {
		return "sockdiag: JSON: " + e.Err.Error()
	}
	return "sockdiag: JSON: " + e.Field + ": " + strings.TrimPrefix(e.Err.Error(), "sockdiag: ")
}

// Unwrap returns what is wrong.
func (e *JSONError) Unwrap() error { return e.Err }

// jsonCodec writes or reads JSON. What a type has in its object is said once, in a
// method that calls the codec with a pointer to each member, so that no member is
// written and not read. The codec writes nothing through these pointers while it
// writes JSON, and keeps none of them: a Socket on the stack stays there.
type jsonCodec struct {
	out  []byte // writing: what was appended to
	told Attrs  // writing: which attributes are in it

	// Reading: the members of the objects around the value, and of its own, in
	// the order of the text.
	reading bool
	members []jsonMember
	in      jsonFrame   // the innermost object or array
	outer   []jsonFrame // those around it
	err     error       // the first error, after which nothing is found any more
}

// jsonMember is a member of an object, or an item of an array, as it stands in the
// text.
type jsonMember struct {
	name, value []byte
}

// jsonFrame is an object or an array.
type jsonFrame struct {
	path       string // of the members: "" or "tcp_info."
	begin, end int    // which of jsonCodec.members
	at         int    // the one found last: the next is likely to stand behind it
}

// unmarshalJSON reads an object into *v, which is as it was after an error or a
// null. What is not in the object becomes zero.
func unmarshalJSON[T any](data []byte, v *T, members func(*T, *jsonCodec)) error {
	data = bytes.Trim(data, jsonSpace)
	if string(data) == "null" {
		return nil
	}
	if !json.Valid(data) {
		// For the error that says where.
		return &JSONError{Err: json.Unmarshal(data, new(json.RawMessage))}
	}
	j := jsonCodec{reading: true, members: make([]jsonMember, 0, 128)}
	j.push("", data, '{')
	var read T
	members(&read, &j)
	if j.err != nil {
		return j.err
	}
	*v = read
	return nil
}

// key writes what stands before a member's value.
func (j *jsonCodec) key(name string) {
	if last := j.out[len(j.out)-1]; last != '{' {
		j.out = append(j.out, ',')
	}
	j.out = append(j.out, '"')
	j.out = append(j.out, name...)
	j.out = append(j.out, '"', ':')
}

// find finds the value of a member, nil for none.
func (j *jsonCodec) find(name string) []byte {
	for i := j.in.at; i < j.in.end; i++ {
		if string(j.members[i].name) == name {
			j.in.at = i
			return j.members[i].value
		}
	}
	for i := j.in.begin; i < j.in.at; i++ {
		if string(j.members[i].name) == name {
			j.in.at = i
			return j.members[i].value
		}
	}
	return nil
}

// value finds the value of a member that is being read. There is none where there
// is null.
func (j *jsonCodec) value(name string) ([]byte, bool) {
	if j.err != nil {
		return nil, false
	}
	raw := j.find(name)
	return raw, raw != nil && string(raw) != "null"
}

func (j *jsonCodec) fail(name string, err error) {
	if j.err == nil {
		j.err = &JSONError{Field: strings.TrimSuffix(j.in.path+name, "."), Err: err}
	}
}

func (j *jsonCodec) failValue(name string, raw []byte, want string) {
	const most = 40
	text := string(raw)
	if len(text) > most {
		text = text[:most] + "..."
	}
	j.fail(name, fmt.Errorf("%s is not %s", text, want))
}

// push goes into an object or array, which open says.
func (j *jsonCodec) push(name string, raw []byte, open byte) {
	in := jsonFrame{path: j.in.path + name, begin: len(j.members), at: len(j.members)}
	if open == '{' && in.path != "" {
		in.path += "."
	}
	switch {
	case raw[0] == open:
		j.split(raw)
	case open == '{':
		j.failValue(name, raw, "an object")
	default:
		j.failValue(name, raw, "an array")
	}
	in.end = len(j.members)
	j.outer = append(j.outer, j.in)
	j.in = in
}

// split appends what is in an object or array, which is valid JSON.
func (j *jsonCodec) split(b []byte) {
	var m jsonMember
	object := b[0] == '{'
	for b = skipSpace(b[1:]); b[0] != '}' && b[0] != ']'; b = skipSpace(b) {
		if b[0] == ',' {
			b = skipSpace(b[1:])
		}
		if object {
			n := valueLen(b)
			m.name, b = unquote(b[:n]), skipSpace(b[n:])
			b = skipSpace(b[1:]) // the colon
		}
		n := valueLen(b)
		m.value, b = b[:n:n], b[n:]
		j.members = append(j.members, m)
	}
}

const jsonSpace = " \t\r\n"

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, jsonSpace) }

// valueLen is the length of the value that b, valid JSON, begins with.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth > 0 {
				continue
			}
			// A number, true, false or null.
			if n := bytes.IndexAny(b[i:], ",}]"+jsonSpace); n >= 0 {
				return i + n
			}
			return len(b)
		}
		if depth == 0 {
			return i + 1
		}
	}
}

// unquote returns what a string holds, and nil for other values.
func unquote(b []byte) []byte {
	if b[0] != '"' {
		return nil
	}
	if plain := b[1 : len(b)-1 : len(b)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return plain
	}
	var s string
	_ = json.Unmarshal(b, &s) // valid as it is
	return []byte(s)
}

// object begins a member that is an object, unless it is to be left out. Where it
// returns true, end ends it.
func (j *jsonCodec) object(name string, write bool) bool {
	if j.reading {
		raw, ok := j.value(name)
		if ok {
			j.push(name, raw, '{')
		}
		return ok
	}
	if write {
		j.key(name)
		j.out = append(j.out, '{')
	}
	return write
}

func (j *jsonCodec) end() {
	if !j.reading {
		j.out = append(j.out, '}')
		return
	}
	j.members = j.members[:j.in.begin]
	j.in = j.outer[len(j.outer)-1]
	j.outer = j.outer[:len(j.outer)-1]
}

// jsonArray begins a member that is an array of objects, and endArray ends it. On
// reading, v gets a place for each.
func jsonArray[T any](j *jsonCodec, name string, v *[]T) {
	if !j.reading {
		j.key(name)
		j.out = append(j.out, '[')
		return
	}
	raw, ok := j.value(name)
	if !ok {
		raw = []byte("[]")
	}
	j.push(name, raw, '[')
	*v = make([]T, j.in.end-j.in.begin)
}

// item begins the i-th object of an array, and end ends it.
func (j *jsonCodec) item(i int) {
	if j.reading {
		j.push("["+strconv.Itoa(i)+"]", j.members[j.in.begin+i].value, '{')
		return
	}
	if i > 0 {
		j.out = append(j.out, ',')
	}
	j.out = append(j.out, '{')
}

func (j *jsonCodec) endArray() {
	if j.reading {
		j.end()
		return
	}
	j.out = append(j.out, ']')
}

// jsonPresent reports whether a member is there: on writing where set has the bit, and
// on reading the set gets it.
func jsonPresent[T ~uint8 | ~uint64](j *jsonCodec, name string, set *T, bit T) bool {
	if j.reading {
		_, ok := j.value(name)
		if ok {
			*set |= bit
		}
		return ok
	}
	return *set&bit != 0
}

// attr is jsonPresent for an attribute of a Socket.
func (j *jsonCodec) attr(name string, attrs *Attrs, attr Attrs) bool {
	ok := jsonPresent(j, name, attrs, attr)
	if ok {
		j.told |= attr
	}
	return ok
}

// jsonNull writes null for v, or reads it, where v has no number. Where it returns
// false there may be one.
func jsonNull[T comparable](j *jsonCodec, name string, v *T, none T) bool {
	if j.reading {
		if string(j.find(name)) != "null" {
			return false
		}
		*v = none
		return true
	}
	if *v != none {
		return false
	}
	j.key(name)
	j.out = append(j.out, "null"...)
	return true
}
