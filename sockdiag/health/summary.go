package health

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// summary keeps the most frequent keys of a stream in bounded memory, however many
// there are: the algorithm of Misra and Gries, with a median taken off instead of
// one, as it is done where a row may cost only nanoseconds.
//
// Each key has a weight. When the table is full the median of the weights is taken
// off all of them, and who has nothing left has to go. Off the weights, not off
// what was counted: that stays exact for a key from the moment it came in. What it
// may have lost before is at most the sum of the medians so far, for that much and
// no more is missing from the weight of any key, those that have none included.
// A median comes off at least half of the table, so n rows cannot make that sum
// larger than 2n/len: a key with more rows is in the table for certain.
type summary struct {
	seed  [6]uint64
	slots []uint32 // hash table, open addressing: 1 + index into flows, 0 is free
	flows []flow
	lost  uint32 // the sum of the medians
}

// flowKey is the local address and the remote address in two words each, the high
// one first, and the index of the device above the remote port. IPv4 is as
// IPv4-mapped.
type flowKey [5]uint64

// flow is what is counted of the connections with one flowKey.
type flow struct {
	key    flowKey
	hash   uint32
	weight uint32
	missed uint32 // at most so many rows came before those that are counted
	flowCounts
}

// newSummary makes a table for so many keys, a power of two.
func newSummary(size int) *summary {
	m := &summary{slots: make([]uint32, 2*size), flows: make([]flow, 0, size)}
	for i := range m.seed {
		m.seed[i] = rand.Uint64()
	}
	return m
}

// hash mixes the words by multiplication. Who chooses addresses does not know the
// seed, and so not which keys collide.
func (m *summary) hash(k *flowKey) uint32 {
	a, b := bits.Mul64(k[0]^m.seed[0], k[1]^m.seed[1])
	c, d := bits.Mul64(k[2]^m.seed[2], k[3]^m.seed[3])
	e, f := bits.Mul64(k[4]^m.seed[4], a^b^bits.RotateLeft64(c^d, 32)^m.seed[5])
	return uint32(mix(e ^ f)) // products alone would leave neighbours in line
}

// at returns the flow of a key, which is one row more. It is valid until the next
// call.
func (m *summary) at(key *flowKey) *flow {
	h := m.hash(key)
	mask := uint32(len(m.slots) - 1)
	i := h & mask
	for m.slots[i] != 0 {
		f := &m.flows[m.slots[i]-1]
		if f.hash == h && f.key == *key {
			f.weight++
			return f
		}
		i = (i + 1) & mask
	}
	if len(m.flows) == cap(m.flows) {
		m.shrink()
		for i = h & mask; m.slots[i] != 0; i = (i + 1) & mask {
		}
	}
	m.flows = append(m.flows, flow{key: *key, hash: h, weight: 1, missed: m.lost})
	m.slots[i] = uint32(len(m.flows))
	return &m.flows[len(m.flows)-1]
}

// shrink throws out at least half of the keys.
func (m *summary) shrink() {
	median := m.median()
	m.lost += median
	kept := m.flows[:0]
	for i := range m.flows {
		if f := &m.flows[i]; f.weight > median {
			f.weight -= median
			kept = append(kept, *f)
		}
	}
	m.flows = kept
	clear(m.slots)
	mask := uint32(len(m.slots) - 1)
	for i := range m.flows {
		j := m.flows[i].hash & mask
		for m.slots[j] != 0 {
			j = (j + 1) & mask
		}
		m.slots[j] = uint32(i) + 1
	}
}

// median returns the weight that at least half of the flows do not exceed, and half
// reach.
func (m *summary) median() uint32 {
	// Where most keys are rare, as where there are too many, it is a small number.
	var small [32]int
	for i := range m.flows {
		small[min(m.flows[i].weight, uint32(len(small)-1))]++
	}
	seen := 0
	for weight, n := range small[:len(small)-1] {
		if seen += n; 2*seen >= len(m.flows) {
			return uint32(weight)
		}
	}
	weights := make([]uint32, len(m.flows))
	for i := range m.flows {
		weights[i] = m.flows[i].weight
	}
	slices.Sort(weights)
	return weights[(len(weights)-1)/2]
}
