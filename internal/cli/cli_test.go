package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/sockdiag"
)

func TestStatus(t *testing.T) {
	dump := &sockdiag.OpError{Op: "dump", Protocol: sockdiag.TCP, Err: fs.ErrPermission}
	for _, tt := range []struct {
		err    error
		status int
		stderr string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{fmt.Errorf("wrapped: %w", flag.ErrHelp), 0, ""},
		{errors.New("it broke"), 1, "prog: it broke\n"},
		{dump, 1, "prog: dump TCP: permission denied\n"}, // without our package's name
		{&sockdiag.OpError{Op: "dump", Err: context.Canceled}, 1, "prog: interrupted\n"},
		{context.DeadlineExceeded, 1, "prog: context deadline exceeded\n"},
		{&UsageError{dump}, 2, "prog: dump TCP: permission denied (prog -h tells how to use it)\n"},
		{&UsageError{errors.New("-n: no")}, 2, "prog: -n: no (prog -h tells how to use it)\n"},
		{fmt.Errorf("flags: %w", &UsageError{errors.New("no")}), 2, "prog: flags: no (prog -h tells how to use it)\n"},
	} {
		var stderr bytes.Buffer
		if got := status("prog", tt.err, &stderr); got != tt.status || stderr.String() != tt.stderr {
			t.Errorf("%v: status %d, stderr %q, want %d, %q", tt.err, got, &stderr, tt.status, tt.stderr)
		}
	}
}

func TestUsageErrorUnwrap(t *testing.T) {
	cause := errors.New("cause")
	if err := error(&UsageError{cause}); !errors.Is(err, cause) || err.Error() != "cause" {
		t.Errorf("%v", err)
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args []string
		n    int
		err  string // "": none
	}{
		{nil, 7, ""},
		{[]string{"-n", "3"}, 3, ""},
		{[]string{"--n=4"}, 4, ""},
		{[]string{"-n", "3", "--"}, 3, ""},
		{[]string{"x"}, 7, `unexpected argument "x"`},
		{[]string{"-n", "3", "x", "-n", "4"}, 3, `unexpected argument "x"`},
		{[]string{"--", "-n"}, 7, `unexpected argument "-n"`},
		{[]string{"-m"}, 7, "-m"},
		{[]string{"-n"}, 7, "-n"},
		{[]string{"-n", "three"}, 0, `"three"`},
	} {
		var stdout bytes.Buffer
		f := NewFlags("prog", "Usage: prog")
		n := f.Int("n", 7, "`N` of them")
		err := f.Parse(tt.args, &stdout)
		var usage *UsageError
		if tt.err == "" && err != nil || tt.err != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.err)
		}
		if err == nil && *n != tt.n {
			t.Errorf("%q: -n is %d, want %d", tt.args, *n, tt.n)
		}
		if stdout.Len() > 0 {
			t.Errorf("%q prints %q", tt.args, &stdout)
		}
	}
}

// An empty -netns is a mistake only where it stands on the command line.
func TestParseNetNS(t *testing.T) {
	for _, tt := range []struct {
		args  []string
		name  string
		given bool
		err   string
	}{
		{nil, "", false, ""},
		{[]string{"-n=7"}, "", false, ""},
		{[]string{"-netns", "blue"}, "blue", true, ""},
		{[]string{"-netns", "", "-netns", "blue"}, "blue", true, ""},
		{[]string{"-netns", ""}, "", true, "-netns: no name given"},
		{[]string{"-netns="}, "", true, "-netns: no name given"},
		{[]string{"--netns=", "-n=3"}, "", true, "-netns: no name given"},
	} {
		f := NewFlags("prog", "Usage: prog")
		f.Int("n", 7, "`N` of them")
		name := f.String("netns", "", NetNSHelp)
		err := f.Parse(tt.args, io.Discard)
		var usage *UsageError
		if tt.err == "" && err != nil || tt.err != "" && (!errors.As(err, &usage) || err.Error() != tt.err) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.err)
		}
		if *name != tt.name || f.Given("netns") != tt.given {
			t.Errorf("%q: %q, given %v", tt.args, *name, f.Given("netns"))
		}
		if want := len(tt.args) > 0 && strings.HasPrefix(tt.args[len(tt.args)-1], "-n="); f.Given("n") != want {
			t.Errorf("%q: -n given: %v", tt.args, !want)
		}
	}
}

// The help goes to stdout, with the program's text above its flags.
func TestParseHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		var stdout bytes.Buffer
		f := NewFlags("prog", "Usage: prog [-n N]\n\nDoes it.")
		f.Int("n", 7, "`N` of them")
		if err := f.Parse([]string{arg, "junk"}, &stdout); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", arg, err)
		}
		out := stdout.String()
		if !strings.HasPrefix(out, "Usage: prog [-n N]\n\nDoes it.\n") || strings.Count(out, "Usage") != 1 {
			t.Errorf("%s prints %q", arg, out)
		}
		if !strings.Contains(out, "-n N\n") || !strings.Contains(out, "N of them (default 7)") {
			t.Errorf("%s lists no flag: %q", arg, out)
		}
	}
}

func TestParseFirst(t *testing.T) {
	var stdout bytes.Buffer
	f := NewFlags("prog", "Usage: prog")
	n := f.Int("n", 7, "`N` of them")
	if err := f.ParseFirst([]string{"-n", "3", "x", "-n", "4"}, &stdout); err != nil || *n != 3 || strings.Join(f.Args(), " ") != "x -n 4" {
		t.Errorf("-n 3 x -n 4: %v, -n is %d, arguments %q", err, *n, f.Args())
	}
	if err := f.ParseFirst([]string{"-m", "x"}, &stdout); !errors.As(err, new(*UsageError)) || stdout.Len() > 0 {
		t.Errorf("-m x: %v, stdout %q", err, &stdout)
	}
}

func TestParseMixed(t *testing.T) {
	for _, tt := range []struct {
		args string // separated by spaces
		want string // flags and arguments
		err  string
	}{
		{"", "[] 7", ""},
		{"-tan", "[t a n] 7", ""},
		{"-nat -6", "[n a t 6] 7", ""},
		{"-t x -a y -count 3 z", "[t a] 3 x y z", ""},
		{"x -count=3 -t6 -- -a -n", "[t 6] 3 x -a -n", ""},
		{"-count -3 -t", "[t] -3", ""}, // a value may look like a flag
		{"-count -ta", "", `"-ta"`},
		{"--count 3 -t=true - x", "[t] 3 - x", ""},
		{"-- -t", "[] 7 -t", ""},
		{"-long -t", "[long t] 7", ""}, // and not -l -o -n -g
		{"--long", "[long] 7", ""},
		{"--tan", "", "-tan"},
		{"-tanx", "", "-x"},
		{"-xta", "", "-xta"},
		{"-ta=false", "", "-="}, // a bundle has no values
		{"-count", "", "-count"},
		{"-tcount 3", "", "-c"},
		{"x -netns= y", "", "-netns: no name given"},
	} {
		var stdout bytes.Buffer
		f := NewFlags("prog", "Usage: prog")
		var got []string
		for _, name := range []string{"t", "a", "n", "6", "long"} {
			f.BoolFunc(name, "", func(string) error { got = append(got, name); return nil })
		}
		count := f.Int("count", 7, "")
		f.String("netns", "", NetNSHelp)
		err := f.ParseMixed(strings.Fields(tt.args), &stdout)
		var usage *UsageError
		if tt.err == "" && err != nil || tt.err != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.err)
		}
		if text := strings.Join(append([]string{fmt.Sprint(got, " ", *count)}, f.Args()...), " "); err == nil && text != tt.want {
			t.Errorf("%q: %s, want %s", tt.args, text, tt.want)
		}
		if stdout.Len() > 0 {
			t.Errorf("%q prints %q", tt.args, &stdout)
		}
	}

	for _, arg := range []string{"-h", "--help", "-th", "-t x -h"} {
		var stdout bytes.Buffer
		f := NewFlags("prog", "Usage: prog")
		f.Bool("t", false, "it")
		if err := f.ParseMixed(strings.Fields(arg), &stdout); !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(stdout.String(), "Usage: prog\n") {
			t.Errorf("%s: %v, prints %q", arg, err, &stdout)
		}
	}
}
