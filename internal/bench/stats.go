package main

import (
	"math"
	"slices"
)

// spread is what there is to say of a number of measurements.
type spread struct{ low, median, high float64 } // the quartiles

func spreadOf(values []float64) spread {
	return spread{quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)}
}

// quantile interpolates between neighbours, as R and NumPy do unless told
// otherwise. Of no values it is NaN.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	whole, part := math.Modf(q * float64(len(sorted)-1))
	i := int(whole)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + part*(sorted[i+1]-sorted[i])
}

// sample is what a run of a contender measures.
type sample struct {
	NS      float64 // the median of its operations
	CPU     float64 // ns of processor time that an operation takes, the mean
	Rows    int     // that the last operation saw; -1 where nobody can tell
	Allocs  float64 `json:",omitempty"` // an operation, on average
	PeakRSS int64   // KiB; 0 where nobody can tell
}

// runResult is one run, of those in one scene.
type runResult struct {
	Operation, Contender string
	Repetition           int
	sample
	Missing bool   `json:",omitempty"` // it is not installed
	Failure string `json:",omitempty"`
}

func (r *runResult) good() bool { return !r.Missing && r.Failure == "" }

// pair is a contender's result and the floor's in the same repetition, in
// nanoseconds.
type pair struct{ contender, floor float64 }

// pairs pairs the good runs of a contender with the good ones of the floor, by
// their time or their CPU time.
func pairs(runs []runResult, operation, contender, floor string, cpu bool) []pair {
	clock := func(s sample) float64 {
		if cpu {
			return s.CPU
		}
		return s.NS
	}
	floors := map[int]float64{}
	for _, r := range runs {
		if r.Operation == operation && r.Contender == floor && r.good() {
			floors[r.Repetition] = clock(r.sample)
		}
	}
	var all []pair
	for _, r := range runs {
		if f, ok := floors[r.Repetition]; ok && r.Operation == operation && r.Contender == contender && r.good() {
			all = append(all, pair{clock(r.sample), f})
		}
	}
	return all
}

func ratios(all []pair) []float64 {
	values := make([]float64, len(all))
	for i, p := range all {
		values[i] = p.contender / p.floor
	}
	return values
}

// toMedian is each floor's result as a multiple of their median.
func toMedian(all []pair) []float64 {
	values := make([]float64, len(all))
	for i, p := range all {
		values[i] = p.floor
	}
	median := quantile(values, 0.5)
	for i := range values {
		values[i] /= median
	}
	return values
}

// promise is how much of the floor's time this module says that it takes at most.
// The zero promise is none.
type promise struct {
	ratio   float64
	goal    float64 // where it would like to be; 0: nothing is said
	walk    float64 // or this multiple of the walk's, whichever allows more; 0: the floor's alone
	anySize bool    // else from promisedFrom sockets on
	from    size    // nothing is promised with fewer
}

const (
	promisedFrom = 10 * k
	// grace is how much longer than the floor it may take with fewer sockets.
	grace = 50e3 // ns
)

// kept reports whether the medians of the pairs keep the promise, with the floor or
// with the walk.
func (p promise) kept(s size, all, walk []pair) bool {
	if p.ratio == 0 || len(all) == 0 || s < p.from {
		return true
	}
	if len(walk) > 0 && quantile(ratios(walk), 0.5) <= p.walk {
		return true
	}
	if s >= promisedFrom || p.anySize {
		return quantile(ratios(all), 0.5) <= p.ratio
	}
	more := make([]float64, len(all))
	for i, pair := range all {
		more[i] = pair.contender - pair.floor
	}
	return quantile(more, 0.5) <= grace
}
