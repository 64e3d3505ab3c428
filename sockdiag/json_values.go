package sockdiag

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The values that jsonCodec writes and reads. On reading, each leaves *v as it is
// where the object has no such member, or null.

func jsonNumber[T ~uint8 | ~uint16 | ~uint32 | ~uint64](j *jsonCodec, name string, v *T) {
	if !j.reading {
		j.key(name)
		j.out = strconv.AppendUint(j.out, uint64(*v), 10)
		return
	}
	if raw, ok := j.value(name); ok {
		n, err := strconv.ParseUint(string(raw), 10, 64)
		if most := ^T(0); err != nil || n > uint64(most) {
			j.failValue(name, raw, "an integer from 0 to "+strconv.FormatUint(uint64(most), 10))
		}
		*v = T(n)
	}
}

func (j *jsonCodec) signed(name string, v *int32) {
	if !j.reading {
		j.key(name)
		j.out = strconv.AppendInt(j.out, int64(*v), 10)
		return
	}
	if raw, ok := j.value(name); ok {
		n, err := strconv.ParseInt(string(raw), 10, 32)
		if err != nil {
			j.failValue(name, raw, "an integer from -2147483648 to 2147483647")
		}
		*v = int32(n)
	}
}

// id is a number as a string: any number of 64 bits is likely, and JavaScript and
// jq would round it.
func (j *jsonCodec) id(name string, v *uint64) {
	if !j.reading {
		j.key(name)
		j.out = append(j.out, '"')
		j.out = strconv.AppendUint(j.out, *v, 10)
		j.out = append(j.out, '"')
		return
	}
	if raw, ok := j.value(name); ok {
		n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 64)
		if err != nil || raw[0] != '"' {
			j.failValue(name, raw, "a string with an integer from 0 to 18446744073709551615")
		}
		*v = n
	}
}

func (j *jsonCodec) duration(name string, v *time.Duration, unit time.Duration) {
	if !j.reading {
		j.key(name)
		j.out = strconv.AppendInt(j.out, int64(*v/unit), 10)
		return
	}
	if raw, ok := j.value(name); ok {
		n, err := strconv.ParseUint(string(raw), 10, 64)
		if most := uint64(math.MaxInt64 / unit); err != nil || n > most {
			j.failValue(name, raw, "an integer from 0 to "+strconv.FormatUint(most, 10))
		}
		*v = time.Duration(n) * unit
	}
}

func (j *jsonCodec) bool(name string, v *bool) {
	if !j.reading {
		j.key(name)
		j.out = strconv.AppendBool(j.out, *v)
		return
	}
	if raw, ok := j.value(name); ok {
		*v = string(raw) == "true"
		if !*v && string(raw) != "false" {
			j.failValue(name, raw, "true or false")
		}
	}
}

// jsonText is for what marshals itself as text without quotes, backslashes and control
// characters.
func jsonText[T interface {
	AppendText([]byte) ([]byte, error)
}, P interface {
	*T
	UnmarshalText([]byte) error
}](j *jsonCodec, name string, v *T) {
	if !j.reading {
		j.key(name)
		j.out = append(j.out, '"')
		j.out, _ = (*v).AppendText(j.out)
		j.out = append(j.out, '"')
		return
	}
	raw, ok := j.value(name)
	if !ok {
		return
	}
	s := unquote(raw)
	if s == nil {
		j.failValue(name, raw, "a string")
		return
	}
	var read T
	if err := P(&read).UnmarshalText(s); err != nil {
		j.fail(name, err)
	}
	*v = read
}

// address is text, but for the zone that Go programs can give an address: it may
// be any string.
func (j *jsonCodec) address(name string, v *netip.AddrPort) {
	if !j.reading && v.Addr().Zone() != "" {
		s := v.String()
		j.string(name, &s)
		return
	}
	jsonText(j, name, v)
}

// prefix is text; one that is not valid is the empty string.
func (j *jsonCodec) prefix(name string, v *netip.Prefix) {
	if !j.reading && !v.IsValid() {
		v = new(netip.Prefix)
	}
	jsonText(j, name, v)
}

func (j *jsonCodec) string(name string, v *string) {
	if !j.reading {
		j.key(name)
		j.out = appendJSONString(j.out, *v)
		return
	}
	if raw, ok := j.value(name); ok {
		s := unquote(raw)
		if s == nil {
			j.failValue(name, raw, "a string")
		}
		*v = string(s)
	}
}

// appendJSONString writes what is not plain as encoding/json does.
func appendJSONString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // no string is an error
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// addresses is an array of addresses.
func (j *jsonCodec) addresses(name string, v *[]netip.AddrPort) {
	jsonArray(j, name, v)
	for i := range *v {
		if !j.reading {
			if i > 0 {
				j.out = append(j.out, ',')
			}
			text, _ := (*v)[i].MarshalText()
			j.out = appendJSONString(j.out, string(text))
			continue
		}
		raw := j.members[j.in.begin+i].value
		if err := (*v)[i].UnmarshalText(unquote(raw)); err != nil || raw[0] != '"' {
			j.failValue("["+strconv.Itoa(i)+"]", raw, "an address and port")
		}
	}
	j.endArray()
}

// bytes is base64, and null for nil.
func (j *jsonCodec) bytes(name string, v *[]byte) {
	if !j.reading {
		j.key(name)
		if *v == nil {
			j.out = append(j.out, "null"...)
			return
		}
		j.out = append(j.out, '"')
		j.out = base64.StdEncoding.AppendEncode(j.out, *v)
		j.out = append(j.out, '"')
		return
	}
	raw, ok := j.value(name)
	if !ok {
		return
	}
	b, err := base64.StdEncoding.AppendDecode([]byte{}, unquote(raw))
	if err != nil || raw[0] != '"' {
		j.failValue(name, raw, "base64")
	}
	*v = b
}

// bytes4 is bytes, of which there are four.
func (j *jsonCodec) bytes4(name string, v *[4]byte) {
	if !j.reading {
		b := v[:]
		j.bytes(name, &b)
		return
	}
	var b []byte
	j.bytes(name, &b)
	if raw, ok := j.value(name); ok {
		if len(b) != len(v) {
			j.failValue(name, raw, "base64 of four bytes")
			return
		}
		*v = [4]byte(b)
	}
}
