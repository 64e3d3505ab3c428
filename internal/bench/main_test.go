package main

import (
	"bytes"
	"errors"
	"flag"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/internal/cli"
)

func TestParseFlags(t *testing.T) {
	cfg, err := parseFlags([]string{"-sizes", "1k,2M", "-reps", "3", "-only", "^Lookup", "-cpu", "-json", "x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.sizes, []size{k, 2 * m}) || cfg.reps != 3 || cfg.only.String() != "^Lookup" || !cfg.cpu || cfg.json != "x" {
		t.Errorf("%+v", cfg)
	}
	if want := "go run . -sizes 1k,2M -reps 3 -only '^Lookup' -cpu -json x"; cfg.command != want {
		t.Errorf("command %q, want %q", cfg.command, want)
	}
	cfg, err = parseFlags(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.sizes, []size{k, 10 * k, 100 * k, m}) || cfg.reps < 15 || cfg.cpu {
		t.Errorf("by default: %+v", cfg)
	}

	for _, args := range [][]string{
		{"-sizes", "1K"}, {"-sizes", ""}, {"-reps", "0"}, {"-reps", "x"}, {"-only", "("}, {"-only", "nobody"}, {"1k"}, {"-x"},
	} {
		var usage *cli.UsageError
		if _, err := parseFlags(args, nil); !errors.As(err, &usage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// What is quoted a shell takes for what it was.
func TestQuote(t *testing.T) {
	for _, arg := range []string{"", "-sizes", "1k,10k", "Lookup: timewait", "a|b", "it's", "''", "$HOME", "*", "a'b c", "~", "\n"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s. "+quote(arg)).CombinedOutput()
		if err != nil || string(out) != arg+"." {
			t.Errorf("%q became %q, by %s; error %v", arg, out, quote(arg), err)
		}
	}
	if got := quote("1k,10k"); got != "1k,10k" {
		t.Errorf("quoted: %s", got)
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, &out, nil); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"Usage: bench", "-sizes LIST", "-reps N", "-only REGEXP", "-cpu\n", "-json FILE"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s\nwithout %q", out.String(), want)
		}
	}
}
