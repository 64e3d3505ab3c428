package procnet

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// ParseError says that a file is not as the kernel writes it.
type ParseError struct {
	File File
	Line int    // from 1; 0: of no line
	Text string // what was found there, or for ErrAbsent what was not
	Err  error  // never nil
}

func (e *ParseError) Error() string {
	s := "/proc/net/" + e.File.String()
	if e.Line != 0 {
		s += ":" + strconv.Itoa(e.Line)
	}
	if e.Text != "" {
		s += fmt.Sprintf(": %.80q", e.Text)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *ParseError) Unwrap() error { return e.Err }

// ErrAbsent is the cause of a ParseError about a counter that the file, which is
// there, does not have.
var ErrAbsent = errors.New("this kernel has no such counter")

// What can be wrong with a line.
var (
	errNoSection = errors.New("does not start with a name and a colon")
	errNoValues  = errors.New("the line of values for these names is missing")
	errCount     = errors.New("as many values as names are needed")
)

// scan calls fn for every counter in the text of a file, in its order, and stops
// at the first line that makes no sense. If section is not empty only the
// counters of that section are looked at. What fn gets is good until it returns.
func scan(file File, text []byte, section string, fn func(section, name []byte, value int64)) error {
	var err *ParseError
	switch file {
	case SNMP6:
		err = scanFlat(text, fn)
	case Sockstat, Sockstat6:
		err = scanNamed(text, section, fn)
	case Conntrack:
		err = scanTable(text, fn)
	default:
		err = scanPairs(text, section, fn)
	}
	if err == nil {
		return nil // not a nil *ParseError in an error
	}
	err.File = file
	return err
}

// scanPairs reads lines in pairs, names above values:
//
//	Tcp: RtoAlgorithm RtoMin
//	Tcp: 1 200
func scanPairs(text []byte, only string, fn func(section, name []byte, value int64)) *ParseError {
	for line := 1; len(text) > 0; line += 2 {
		var top, bottom []byte
		top, text = cutLine(text)
		bottom, text = cutLine(text)
		section, names, ok := cutSection(top)
		if !ok {
			return &ParseError{Line: line, Text: string(top), Err: errNoSection}
		}
		below, values, ok := cutSection(bottom)
		if !ok || !bytes.Equal(below, section) {
			return &ParseError{Line: line + 1, Text: string(bottom), Err: errNoValues}
		}
		if only != "" && string(section) != only {
			continue
		}
		for {
			var name, word []byte
			name, names = cutWord(names)
			word, values = cutWord(values)
			if len(name) == 0 && len(word) == 0 {
				break
			}
			if len(name) == 0 || len(word) == 0 {
				return &ParseError{Line: line + 1, Text: string(bottom), Err: errCount}
			}
			value, err := parseValue(word)
			if err != nil {
				return &ParseError{Line: line + 1, Text: string(word), Err: err}
			}
			fn(section, name, value)
		}
	}
	return nil
}

// scanNamed reads lines of names, each with its value behind it:
//
//	TCP: inuse 1 orphan 0 tw 0
func scanNamed(text []byte, only string, fn func(section, name []byte, value int64)) *ParseError {
	for line := 1; len(text) > 0; line++ {
		var whole []byte
		whole, text = cutLine(text)
		section, rest, ok := cutSection(whole)
		if !ok {
			return &ParseError{Line: line, Text: string(whole), Err: errNoSection}
		}
		if only != "" && string(section) != only {
			continue
		}
		for {
			var name, word []byte
			name, rest = cutWord(rest)
			if len(name) == 0 {
				break
			}
			word, rest = cutWord(rest)
			if len(word) == 0 {
				return &ParseError{Line: line, Text: string(whole), Err: errCount}
			}
			value, err := parseValue(word)
			if err != nil {
				return &ParseError{Line: line, Text: string(word), Err: err}
			}
			fn(section, name, value)
		}
	}
	return nil
}

// scanFlat reads lines of one name and value each. There are no sections.
func scanFlat(text []byte, fn func(section, name []byte, value int64)) *ParseError {
	for line := 1; len(text) > 0; line++ {
		var whole []byte
		whole, text = cutLine(text)
		name, rest := cutWord(whole)
		word, rest := cutWord(rest)
		if more, _ := cutWord(rest); len(word) == 0 || len(more) != 0 {
			return &ParseError{Line: line, Text: string(whole), Err: errCount}
		}
		value, err := parseValue(word)
		if err != nil {
			return &ParseError{Line: line, Text: string(word), Err: err}
		}
		fn(nil, name, value)
	}
	return nil
}

// scanTable reads a line of names, and below a line of values for each processor, in
// hexadecimal:
//
//	entries  clashres found
//	0000001a  00000000 00000000
//	0000001a  00000000 00000002
//
// What fn gets are the sums. The entries, which are all of them in each line, are
// left out: they have a setting of their own.
func scanTable(text []byte, fn func(section, name []byte, value int64)) *ParseError {
	head, text := cutLine(text)
	names := bytes.Fields(head)
	sums := make([]int64, len(names))
	for line := 2; len(text) > 0; line++ {
		var row []byte
		row, text = cutLine(text)
		values := bytes.Fields(row)
		if len(values) != len(names) {
			return &ParseError{Line: line, Text: string(row), Err: errCount}
		}
		for i, word := range values {
			n, err := strconv.ParseUint(string(word), 16, 63)
			if err != nil {
				var num *strconv.NumError
				if errors.As(err, &num) {
					err = num.Err // Text has the rest
				}
				return &ParseError{Line: line, Text: string(word), Err: err}
			}
			sums[i] += int64(n)
		}
	}
	for i, name := range names {
		if string(name) != "entries" {
			fn([]byte("nf_conntrack"), name, sums[i])
		}
	}
	return nil
}

func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte{'\n'})
	return line, rest
}

// cutSection cuts the name and colon that a line starts with.
func cutSection(line []byte) (section, rest []byte, ok bool) {
	word, rest := cutWord(line)
	section, ok = bytes.CutSuffix(word, []byte{':'})
	return section, rest, ok && len(section) > 0
}

// cutWord cuts the first word, which is empty if there is none.
func cutWord(line []byte) (word, rest []byte) {
	start := 0
	for start < len(line) && blank(line[start]) {
		start++
	}
	end := start
	for end < len(line) && !blank(line[end]) {
		end++
	}
	return line[start:end], line[end:]
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// parseValue reads a number. One above the largest int64 is what the kernel makes
// of a negative one, and becomes that again.
func parseValue(word []byte) (int64, error) {
	n, err := strconv.ParseInt(string(word), 10, 64)
	if err == nil {
		return n, nil
	}
	u, err := strconv.ParseUint(string(word), 10, 64)
	if err != nil {
		var num *strconv.NumError
		if errors.As(err, &num) {
			err = num.Err // Text has the rest
		}
		return 0, err
	}
	return int64(u), nil
}
