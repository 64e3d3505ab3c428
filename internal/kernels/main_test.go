package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		release, than string
		want          bool
	}{
		{"5.10.0-46-cloud-amd64", "5.14", true},
		{"5.14.0-1", "5.14", false},
		{"6.1.0-56-cloud-amd64", "5.14", false},
		{"6.1.0", "6.12", true},
		{"6.12.117+deb12-cloud-amd64", "6.2", false},
		{"5.19", "6.1", true},
		{"6", "6.1", false}, // no release
		{"", "6.1", false},
	} {
		if got := older(tt.release, tt.than); got != tt.want {
			t.Errorf("older(%q, %q) = %v", tt.release, tt.than, got)
		}
	}
}

// The table names packages that run, patterns and releases that can match.
func TestSkips(t *testing.T) {
	for _, s := range skips {
		if _, err := path.Match(s.test, ""); err != nil {
			t.Errorf("%v: %v", s, err)
		}
		if !slices.Contains(packages, s.pack) {
			t.Errorf("%v: no such package", s)
		}
		if s.since != "" && (!s.in("0.1") || s.in(s.since)) {
			t.Errorf("%v: since is no release", s)
		}
		if s.why == "" {
			t.Errorf("%v: why?", s)
		}
	}
}

func TestLibraries(t *testing.T) {
	got := libraries("\tlinux-vdso.so.1 (0x00007ffd)\n" +
		"\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f17)\n" +
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f18)\n\tstatically linked\n")
	if d := cmp.Diff([]string{"/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPrefixWriter(t *testing.T) {
	var b strings.Builder
	w := &prefixWriter{w: &b, prefix: "6.1| "}
	for _, s := range []string{"a", "b\n\x16c\n", "", "\x1ed"} {
		if n, err := io.WriteString(w, s); n != len(s) || err != nil {
			t.Errorf("Write(%q) = %d, %v", s, n, err)
		}
	}
	if got, want := b.String(), "6.1| ab\n6.1| c\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseFlags(t *testing.T) {
	t.Setenv("HOME", "/home/user")
	t.Setenv("XDG_CACHE_HOME", "/home/user/.cache")
	cfg, err := parseFlags(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.kernels) != len(matrix) || cfg.jobs != 2 || cfg.min != 1 || cfg.limit != 10*time.Minute || cfg.run != "" {
		t.Errorf("without flags: %+v", cfg)
	}
	cfg, err = parseFlags([]string{"-kernels", "7.3,5.10", "-run", "^TestX$", "-j", "1", "-min", "4", "-cache", "x", "-timeout", "90s", "-v"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.kernels) != 2 || cfg.kernels[0].name != "7.3" || cfg.kernels[1].name != "5.10" || cfg.jobs != 1 || cfg.min != 4 ||
		cfg.cache != filepath.Join(here, "x") || cfg.limit != 90*time.Second || cfg.run != "^TestX$" || !cfg.verbose {
		t.Errorf("with flags: %+v", cfg)
	}
	for _, args := range []string{"-kernels=4.19", "-kernels=", "-run=(", "-j=0", "-timeout=1s", "x", "-no"} {
		if cfg, err := parseFlags([]string{args}, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %+v, %v", args, cfg, err)
		}
	}
	var help strings.Builder
	if _, err := parseFlags([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-kernels LIST") {
		t.Errorf("-h: %v, %s", err, help.String())
	}
}
