package tcpstate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// Counts is a number of sockets per state, indexed by the State. It has a place
// for each state of the kernel's 32-bit mask, and so for any that newer kernels
// add. The zero Counts has counted nothing. Counts are comparable with ==, and
// copying one copies all the numbers.
//
// Index it with a State from this package or from [Set.States]; a State from
// elsewhere may be above 31, for which an index expression panics and
// [Counts.Add] does not.
type Counts [32]uint64

// Add counts n more sockets in state s. It does nothing for State(32) and
// above, which no socket can be in.
func (c *Counts) Add(s State, n uint64) {
	if int(s) < len(c) {
		c[s] += n
	}
}

// Merge adds the numbers of other, state by state.
func (c *Counts) Merge(other Counts) {
	for i, n := range other {
		c[i] += n
	}
}

// Total returns the number of sockets in all states together.
func (c Counts) Total() uint64 {
	var sum uint64
	for _, n := range c {
		sum += n
	}
	return sum
}

// All yields the states that have sockets, with their numbers, in the order of
// the states. The sequence can be ranged over any number of times; it has the
// numbers that c had when All was called.
func (c Counts) All() iter.Seq2[State, uint64] {
	return func(yield func(State, uint64) bool) {
		for i, n := range c {
			if n != 0 && !yield(State(i), n) {
				return
			}
		}
	}
}

// String returns one line per state that has sockets, such as "TIME_WAIT 41",
// the most numerous first and equal ones in the order of the states. There is
// no newline after the last; without any socket the string is empty.
func (c Counts) String() string {
	states := make([]State, 0, len(c))
	for s := range c.All() {
		states = append(states, s)
	}
	slices.SortStableFunc(states, func(a, b State) int {
		return cmp.Compare(c[b], c[a])
	})
	var out []byte
	for i, s := range states {
		if i > 0 {
			out = append(out, '\n')
		}
		out = s.append(out)
		out = append(out, ' ')
		out = strconv.AppendUint(out, c[s], 10)
	}
	return string(out)
}

// MarshalJSON returns an object with the states that have sockets, such as
// {"TIME_WAIT":41,"LISTEN":7}, in the order of the states. It never returns an
// error.
func (c Counts) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for s, n := range c.All() {
		if len(out) > 1 {
			out = append(out, ',')
		}
		// No name has a character that JSON must escape.
		out = append(out, '"')
		out = s.append(out)
		out = append(out, '"', ':')
		out = strconv.AppendUint(out, n, 10)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON replaces all the numbers by those of a JSON object as
// MarshalJSON writes it, its keys in any spelling that [Parse] takes. An
// unknown name, one state under two names, or a number that is not a uint64 is
// an error, after which c is unchanged. A JSON null changes nothing.
func (c *Counts) UnmarshalJSON(data []byte) error {
	var byName map[string]uint64
	if err := json.Unmarshal(data, &byName); err != nil {
		return fmt.Errorf("tcpstate: counts: %w", err)
	}
	if byName == nil {
		return nil
	}
	var counts Counts
	var seen Set
	for name, n := range byName {
		s, err := Parse(name)
		if err != nil {
			return err
		}
		if s.Set() == 0 {
			return &ParseError{Text: name, Want: "a state that can be counted (0 to 31)"}
		}
		if seen.Has(s) {
			return fmt.Errorf("tcpstate: counts: %v stands twice, under two names", s)
		}
		seen = seen.With(s)
		counts[s] = n
	}
	*c = counts
	return nil
}
