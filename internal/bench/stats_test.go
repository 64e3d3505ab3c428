package main

import (
	"math"
	"slices"
	"testing"
)

// What R's quantile() and NumPy's percentile() say.
func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values            []float64
		low, median, high float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{2, 1}, 1.25, 1.5, 1.75},
		{[]float64{3, 1, 4, 2}, 1.75, 2.5, 3.25},
		{[]float64{10, 50, 30, 20, 40}, 20, 30, 40},
		{[]float64{1, 2, 4, 8, 16, 32}, 2.5, 6, 14},
	} {
		given := slices.Clone(tt.values)
		if got, want := spreadOf(tt.values), (spread{tt.low, tt.median, tt.high}); got != want {
			t.Errorf("of %v: %v, want %v", given, got, want)
		}
		if !slices.Equal(tt.values, given) {
			t.Errorf("%v became %v", given, tt.values)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
	if least, most := quantile([]float64{2, 1, 3}, 0), quantile([]float64{2, 1, 3}, 1); least != 1 || most != 3 {
		t.Errorf("the ends: %v, %v", least, most)
	}
}

func result(operation, contender string, repetition int, ns, cpu float64) runResult {
	return runResult{Operation: operation, Contender: contender, Repetition: repetition, sample: sample{NS: ns, CPU: cpu}}
}

// Runs are compared with the floor's run of their own repetition and operation, and
// with no other.
func TestPairs(t *testing.T) {
	broken := result("a", "floor", 2, 1, 1)
	broken.Failure = "broken"
	missing := result("a", "x", 3, 1, 1)
	missing.Missing = true
	runs := []runResult{
		result("a", "x", 0, 30, 3), result("a", "floor", 0, 10, 1), result("b", "floor", 0, 1, 1), result("b", "x", 0, 1, 1),
		result("a", "floor", 1, 20, 4), result("a", "y", 1, 1, 1), result("a", "x", 1, 30, 6),
		result("a", "x", 2, 1, 1), broken,
		missing, result("a", "floor", 3, 1, 1),
		result("a", "x", 4, 1, 1), // without a floor
	}
	if got, want := pairs(runs, "a", "x", "floor", false), []pair{{30, 10}, {30, 20}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := pairs(runs, "a", "x", "floor", true), []pair{{3, 1}, {6, 4}}; !slices.Equal(got, want) {
		t.Errorf("of CPU time: %v, want %v", got, want)
	}
	if got, want := ratios([]pair{{30, 10}, {30, 20}}), []float64{3, 1.5}; !slices.Equal(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
	if got, want := toMedian([]pair{{1, 5}, {1, 10}, {1, 20}}), []float64{0.5, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("to the median %v, want %v", got, want)
	}
}

// A median that is one outlier's ratio away is not one.
func TestPromise(t *testing.T) {
	const µs = 1e3
	over := []pair{{115 * µs, 100 * µs}, {111 * µs, 100 * µs}, {900 * µs, 900 * µs}}
	under := []pair{{999 * µs, 100 * µs}, {110 * µs, 100 * µs}, {109 * µs, 100 * µs}}
	for _, tt := range []struct {
		name    string
		promise promise
		size    size
		pairs   []pair
		walk    []pair
		want    bool
	}{
		{"over", promise{ratio: 1.1}, 10 * k, over, nil, false},
		{"under, but once", promise{ratio: 1.1}, 10 * k, under, nil, true},
		{"over, by little time", promise{ratio: 1.1}, 9999, over, nil, true},
		{"by the grace", promise{ratio: 0.25}, k, []pair{{150 * µs, 100 * µs}}, nil, true},
		{"by more than it", promise{ratio: 0.25}, k, []pair{{151 * µs, 100 * µs}}, nil, false},
		{"at any size", promise{ratio: 1.1, anySize: true}, k, over, nil, false},
		{"none", promise{}, m, over, nil, true},
		{"not measured", promise{ratio: 1.1}, m, nil, nil, true},
		{"over, and the walk's", promise{ratio: 1.1, walk: 1.2}, 10 * k, over, []pair{{115 * µs, 96 * µs}}, true},
		{"over both", promise{ratio: 1.1, walk: 1.2}, 10 * k, over, []pair{{115 * µs, 95 * µs}}, false},
		{"under, and over the walk's", promise{ratio: 1.1, walk: 1.2}, 10 * k, under, []pair{{110 * µs, 10 * µs}}, true},
	} {
		if got := tt.promise.kept(tt.size, tt.pairs, tt.walk); got != tt.want {
			t.Errorf("%s: kept: %t", tt.name, got)
		}
	}
}
