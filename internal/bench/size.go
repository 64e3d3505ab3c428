package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// size is a number of sockets.
type size int

const (
	k size = 1000
	m size = 1000 * k
)

// minSize is what gives each state some sockets.
const minSize size = 200

func parseSizes(list string) ([]size, error) {
	var sizes []size
	for text := range strings.SplitSeq(list, ",") {
		s, err := parseSize(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(sizes, s) {
			return nil, fmt.Errorf("%v is there twice", s)
		}
		sizes = append(sizes, s)
	}
	return sizes, nil
}

func parseSize(text string) (size, error) {
	digits, unit := text, size(1)
	if s, ok := strings.CutSuffix(text, "k"); ok {
		digits, unit = s, k
	} else if s, ok := strings.CutSuffix(text, "M"); ok {
		digits, unit = s, m
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number such as 500, 10k or 1M", text)
	case n > uint64(10*m/unit) || size(n)*unit < minSize:
		return 0, fmt.Errorf("%s is not within %v and %v", text, minSize, 10*m)
	}
	return size(n) * unit, nil
}

// String is what parseSize reads: "1M", "100k", "1500".
func (s size) String() string {
	switch {
	case s > 0 && s%m == 0:
		return fmt.Sprintf("%dM", int(s/m))
	case s > 0 && s%k == 0:
		return fmt.Sprintf("%dk", int(s/k))
	}
	return strconv.Itoa(int(s))
}

// scene is a namespace with sockets.
type scene struct {
	Size     size
	TimeWait bool // it is TIME_WAIT that dominates, not ESTABLISHED
	Apart    bool // all are ESTABLISHED, and each is to a destination of its own
}

func (s scene) String() string {
	if s.TimeWait {
		return s.Size.String() + ", most in TIME_WAIT"
	}
	if s.Apart {
		return s.Size.String() + ", each to another"
	}
	return s.Size.String()
}

// mostTimeWait is how many can be made again and again, because they last 60 s.
const mostTimeWait = 100 * k

// scenes are those of the sizes that the operations are asked in.
func scenes(sizes []size, ops []operation) []scene {
	var all []scene
	for _, size := range sizes {
		for _, s := range [...]scene{{Size: size}, {Size: size, TimeWait: true}, {Size: size, Apart: true}} {
			asked := slices.ContainsFunc(ops, func(o operation) bool { return o.in(s) })
			if asked && (!s.TimeWait || size <= mostTimeWait) {
				all = append(all, s)
			}
		}
	}
	return all
}

// connections is how many connections there are, of two ESTABLISHED sockets each.
func (s scene) connections() int {
	if s.TimeWait {
		return int(s.Size) / 200
	}
	if s.Apart {
		return int(s.Size) / 2
	}
	return int(s.Size) / 5 * 2
}

// timeWaits is how many sockets there are in TIME_WAIT.
func (s scene) timeWaits() int { return int(s.Size) - 2*s.connections() }

// memory is what the sockets of the scene, and the files that hold them, take of
// the kernel's memory, in bytes.
func (s scene) memory() uint64 { return 6000*uint64(2*s.connections()) + 500*uint64(s.timeWaits()) }

// ops is how many operations, each in proportion to the sockets, make a run of
// about 0.1 s.
func (s scene) ops() int { return int(min(max(200*k/s.Size, 1), 100)) }

// cold says that one operation takes so long that nothing is gained by doing it
// unmeasured first.
func (s scene) cold() bool { return s.Size >= 400*k }
