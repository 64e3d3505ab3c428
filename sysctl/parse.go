package sysctl

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The parsers below are the second argument of newKey: one per shape of a
// file's text. The text is one line; the kernel separates values by a tab or a
// space.

// fields splits the text of a file into exactly want values.
func fields(text string, want int) ([]string, error) {
	f := strings.FieldsFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(f) != want {
		return nil, fmt.Errorf("%d values, want %d", len(f), want)
	}
	return f, nil
}

// number reads a single integer of the given size.
func number(text string, bits int) (int64, error) {
	f, err := fields(text, 1)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(f[0], 10, bits)
	return n, cause(err)
}

// cause drops what strconv says about the text: ParseError shows it already.
func cause(err error) error {
	var numErr *strconv.NumError
	if errors.As(err, &numErr) {
		return numErr.Err
	}
	return err
}

// parseInt reads an int of the kernel, which has 32 bits everywhere. It serves
// the enums too: their files take numbers that have no name, and those are
// kept.
func parseInt[T ~int](text string) (T, error) {
	n, err := number(text, 32)
	return T(n), err
}

// parseSwitch reads a setting that is off when it is 0 and on otherwise, which
// is how the kernel tests it.
func parseSwitch(text string) (bool, error) {
	n, err := number(text, 32)
	return n != 0, err
}

// parseDuration returns the parser of a whole number of units. The sign is
// kept: some settings give a meaning to negative times.
func parseDuration(unit time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		n, err := number(text, 64)
		if err != nil {
			return 0, err
		}
		if limit := math.MaxInt64 / int64(unit); n > limit || n < -limit {
			return 0, strconv.ErrRange
		}
		return time.Duration(n) * unit, nil
	}
}

// parseName reads a single word.
func parseName(text string) (string, error) {
	f, err := fields(text, 1)
	if err != nil {
		return "", err
	}
	return f[0], nil
}

// parsePort reads a single port.
func parsePort(text string) (uint16, error) {
	f, err := fields(text, 1)
	if err != nil {
		return 0, err
	}
	return port(f[0])
}

func port(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), cause(err)
}

// parsePortRange reads the first and the last port of a range.
func parsePortRange(text string) (PortRange, error) {
	f, err := fields(text, 2)
	if err != nil {
		return PortRange{}, err
	}
	return portRange(f[0], f[1])
}

func portRange(first, last string) (r PortRange, err error) {
	if r.First, err = port(first); err != nil {
		return PortRange{}, fmt.Errorf("first port: %w", err)
	}
	if r.Last, err = port(last); err != nil {
		return PortRange{}, fmt.Errorf("last port: %w", err)
	}
	if r.First > r.Last {
		return PortRange{}, errors.New("the first port is above the last")
	}
	return r, nil
}

// parsePorts reads a list such as "8080,9000-9010", which the kernel writes in
// ascending order and without overlaps.
func parsePorts(text string) (Ports, error) {
	list := strings.TrimSuffix(text, "\n")
	if list == "" {
		return nil, nil
	}
	var ports Ports
	next := 0 // the lowest port that may follow
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		r, err := portRange(first, last)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		if int(r.First) < next {
			return nil, fmt.Errorf("%q is not above what it follows", part)
		}
		next = int(r.Last) + 1
		// The kernel lets 0 be reserved, which is no port.
		if r.First = max(r.First, 1); r.Last > 0 {
			ports = append(ports, r)
		}
	}
	return ports, nil
}

// parseHashTable reads a number of buckets, negative for a table that is shared.
func parseHashTable(text string) (HashTable, error) {
	n, err := number(text, 32)
	if err != nil {
		return HashTable{}, err
	}
	if n < 0 {
		if n = -n; n > math.MaxInt32 {
			return HashTable{}, strconv.ErrRange
		}
		return HashTable{Buckets: int(n), Shared: true}, nil
	}
	return HashTable{Buckets: int(n)}, nil
}

// parsePages reads three unsigned longs of the kernel.
func parsePages(text string) (PageTriple, error) {
	n, err := three(text, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	return PageTriple{n[0], n[1], n[2]}, err
}

// parseBytes reads three sizes, which the kernel keeps as ints.
func parseBytes(text string) (ByteTriple, error) {
	n, err := three(text, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	return ByteTriple{n[0], n[1], n[2]}, err
}

// three reads three numbers; beside an error they are zero.
func three[T any](text string, parse func(string) (T, error)) (n [3]T, err error) {
	f, err := fields(text, 3)
	if err != nil {
		return n, err
	}
	for i, s := range f {
		if n[i], err = parse(s); err != nil {
			return [3]T{}, cause(err)
		}
	}
	return n, nil
}
