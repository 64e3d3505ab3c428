package health

import (
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
				key := flowKey{1: 7, 3: uint64(next(r, i)), 4: 443}
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
					t.Errorf("%v: %d and up to %d missed (of %d), truly %d; twice: %v", f.key, f.used, f.missed, m.lost, want, seen[f.key])
				}
				seen[f.key] = true
			}
			for key, n := range truth {
				if n > m.lost && !seen[key] {
					t.Errorf("%v has %d rows and is missing; %d may be", key, n, m.lost)
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
		key[0] = uint64(i)
		m.at(&key)
		i++
	}); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}

// Keys that differ in one word, by little, are spread over the table as by chance:
// as in the neighbours of an address.
func TestSummaryHash(t *testing.T) {
	const n = 4096
	for word := range len(flowKey{}) {
		for _, shift := range []int{0, 8, 16, 24, 32, 48} {
			m := newSummary(n)
			var load [n]int
			most := 0
			for i := range n {
				var key flowKey
				key[word] = uint64(i) << shift
				slot := m.hash(&key) % n
				load[slot]++
				most = max(most, load[slot])
			}
			if most > 24 { // by chance it is 7 or so
				t.Errorf("word %d, shifted by %d: %d of %d in one slot", word, shift, most, n)
			}
		}
	}
}
