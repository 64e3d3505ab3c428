package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A result is found by the names of its operation and its contender, and its ratio
// is to the first contender's.
func TestOperations(t *testing.T) {
	names := map[string]bool{}
	for _, op := range operations {
		for i, c := range op.contenders {
			key := op.key(c)
			if names[key] {
				t.Errorf("%s is there twice", key)
			}
			names[key] = true
			if (i == 0) != (c.program == programFloor && !c.rowless) || (i == 0) != (c.name == "floor") {
				t.Errorf("%s: the floor, and it alone, comes first", key)
			}
			if c.promise.ratio != 0 && (c.promise.walk != 0) != op.contenders[1].rowless {
				t.Errorf("%s: where there is a walk, the promise is in terms of it, and nowhere else", key)
			}
			if i == 0 && c.most != 0 {
				t.Errorf("%s: a floor is measured at every size", key)
			}
			if strings.Contains(key, "|") {
				t.Errorf("%s: it would end a cell of the table", key)
			}
		}
	}
}

func TestSelected(t *testing.T) {
	keys := func(expression string) (keys []string) {
		for _, op := range selected(regexp.MustCompile(expression)) {
			for _, c := range op.contenders {
				keys = append(keys, op.key(c))
			}
		}
		return keys
	}
	all := 0
	for _, op := range operations {
		all += len(op.contenders)
	}
	if got := len(keys("")); got != all {
		t.Errorf("%d selected by nothing, of %d", got, all)
	}
	if got, want := keys("^Lookup: timewait$"), []string{"Lookup: floor", "Lookup: timewait"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := keys("^Lookup: floor$"), []string{"Lookup: floor"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := keys("^Count, BOUND_INACTIVE too: timewait$"), []string{
		"Count, BOUND_INACTIVE too: floor", "Count, BOUND_INACTIVE too: the walk, no row", "Count, BOUND_INACTIVE too: timewait",
	}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := keys("no such thing"); got != nil {
		t.Errorf("%q", got)
	}
	after := 0
	for _, op := range operations {
		after += len(op.contenders)
	}
	if after != all {
		t.Errorf("of %d contenders %d are left", all, after)
	}
}

func TestArguments(t *testing.T) {
	by := func(program string, ops int, args ...string) contender {
		return contender{program: program, ops: ops, args: args}
	}
	for _, tt := range []struct {
		contender contender
		size      size
		want      string
	}{
		{by("floor", 0, "-x", "2"), 10 * k, "-x 2 -n 20"},
		{by("floor", 0), 100, "-n 100"},
		{by("floor", 0), 300 * k, "-n 1"},
		{by("peer", 0, "dump"), m, "dump -n 1 -c"},
		{by("peer", 2000, "lookup", "-l", localEnd, "-r", remoteEnd), m, "lookup -l 1.2.3.4:5 -r 6.7.8.9:10 -n 2000"},
		{by("ss", 0, "-tan", "src", localEnd), m, "-tan src 1.2.3.4:5"},
	} {
		got := strings.Join(tt.contender.arguments(scene{Size: tt.size}, "1.2.3.4:5", "6.7.8.9:10"), " ")
		if got != tt.want {
			t.Errorf("%s of %v sockets: %s, want %s", tt.contender.program, tt.size, got, tt.want)
		}
	}
}
