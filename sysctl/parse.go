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

// parsePortRange reads the first and the last port of a range.
func parsePortRange(text string) (PortRange, error) {
	f, err := fields(text, 2)
	if err != nil {
		return PortRange{}, err
	}
	first, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil {
		return PortRange{}, fmt.Errorf("first port: %w", cause(err))
	}
	last, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil {
		return PortRange{}, fmt.Errorf("last port: %w", cause(err))
	}
	if first > last {
		return PortRange{}, errors.New("the first port is above the last")
	}
	return PortRange{uint16(first), uint16(last)}, nil
}
