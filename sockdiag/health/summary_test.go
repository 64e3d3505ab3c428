package health

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// What a summary says of a key is what a map says, less what it admits to have
// missed, which is not more than it promises. Keys with more rows than that are
// all there.
func TestSummary(t *testing.T) {
	const size = 64
	for name, next := range map[string]func(r *rand.Rand, i int) int{
		"few":       func(r *rand.Rand, _ int) int { return r.IntN(size) },
		"all equal": func(r *rand.Rand, _ int) int { return r.IntN(10 * size) },
		"all new":   func(_ *rand.Rand, i int) int { return i },
		"some heavy": func(r *rand.Rand, i int) int {
			if r.IntN(3) == 0 {
				return -1 - r.IntN(4)
			}
			return i
		},
		"heavy late": func(_ *rand.Rand, i int) int {
			if i > 9000 {
				return -1
			}
			return i
		},
		"in turns":     func(_ *rand.Rand, i int) int { return i / 300 },
		"steep":        func(r *rand.Rand, _ int) int { return int(r.ExpFloat64() * 40) },
		"heavy, equal": func(_ *rand.Rand, i int) int { return i % (size + 5) },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			m := newSummary(size)
			truth := map[flowKey]uint32{}
			const rows = 10000
			for i := range rows {
				var key flowKey
				copy(key[:], fmt.Sprint(next(r, i)))
				truth[key]++
				m.at(&key).used++
			}
			if m.lost > 2*rows/size {
				t.Errorf("%d rows of a key may be missing, the promise is %d", m.lost, 2*rows/size)
			}
			if len(truth) <= size && m.lost != 0 {
				t.Errorf("%d keys fit, but %d rows may be missing", len(truth), m.lost)
			}
			if len(m.flows) > size {
				t.Errorf("%d keys are kept, for %d there is room", len(m.flows), size)
			}
			seen := map[flowKey]bool{}
			for _, f := range m.flows {
				if want := truth[f.key]; seen[f.key] || f.used > want || f.used+f.missed < want || f.missed > m.lost {
					t.Errorf("%s: %d and up to %d missed (of %d), truly %d; twice: %v", f.key[:8], f.used, f.missed, m.lost, want, seen[f.key])
				}
				seen[f.key] = true
			}
			for key, n := range truth {
				if n > m.lost && !seen[key] {
					t.Errorf("%s has %d rows and is missing; %d may be", key[:8], n, m.lost)
				}
			}
		})
	}
}

// A row of a known key, and of a new one, costs no allocation.
func TestSummaryAllocs(t *testing.T) {
	m := newSummary(64)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		var key flowKey
		key[0], key[1] = byte(i), byte(i>>8)
		m.at(&key)
		i++
	}); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}
