package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeQEMU puts a shell script in the place of qemu. It begins with the console's
// file in $console.
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	head := "#!/bin/sh\nfor a; do case $a in file:*) console=${a#file:};; esac; done\n"
	writeFile(t, filepath.Join(dir, qemu), []byte(head+script))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// Only what the guest said to its end counts, not how qemu ends; and nothing is
// left behind.
func TestBoot(t *testing.T) {
	done := `printf '\036{"Kernel":"6.1"}\n\036{"Done":true}\n'`
	for _, tt := range []struct {
		name, script string
		limit        time.Duration
		problem      string
		console      string
	}{
		{"done", done, time.Minute, "", ""},
		{"done, and a status", done + "; exit 1", time.Minute, "", ""},
		{"done, and no end", done + "; exec sleep 100", 300 * time.Millisecond, "", ""},
		{"no end", "echo Oops >$console; exec sleep 100", 300 * time.Millisecond, "no end within 300ms", "Oops\n"},
		{"an early end", `printf 'panic\r\n' >$console`, time.Minute, "the kernel ended before the tests did", "panic\n"},
		{"no start", "echo no kernel >&2; exit 1", time.Minute, "exit status 1) no kernel", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fakeQEMU(t, tt.script)
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			tr, console, err := boot(t.Context(), &unpacked{}, &payload{}, &config{limit: tt.limit}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if tr.done != (tt.problem == "") || !strings.Contains(strings.Join(tr.problems, "\n"), tt.problem) {
				t.Errorf("done %v, problems %q; want %q", tr.done, tr.problems, tt.problem)
			}
			if console != tt.console {
				t.Errorf("console %q, want %q", console, tt.console)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	fakeQEMU(t, `echo $$ >"$PIDFILE.new"; mv "$PIDFILE.new" "$PIDFILE"; exec sleep 100`)
	pidFile := filepath.Join(t.TempDir(), "pid")
	t.Setenv("PIDFILE", pidFile)
	cache := t.TempDir()
	k := kernel{"6.1", "suite", "package"}
	writeFile(t, filepath.Join(cache, "suite_package", "vmlinuz"), nil)
	writeFile(t, filepath.Join(cache, "suite_package", "x.ko"), nil)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pidFile); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	r := &result{kernel: k}
	r.run(ctx, &payload{}, &config{limit: time.Minute, cache: cache}, io.Discard)
	if len(r.failures) == 0 || r.failures[0].what != "interrupted" || r.missing != nil {
		t.Errorf("during the run: %+v", r)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Errorf("process %s is still there", pid)
	}

	r = &result{kernel: k}
	r.run(ctx, &payload{}, &config{limit: time.Minute, cache: cache}, io.Discard)
	if len(r.failures) != 1 || r.failures[0].what != "interrupted" {
		t.Errorf("before the run: %+v", r)
	}
	r = &result{kernel: kernel{"6.1", "suite", "not-there"}}
	r.run(ctx, &payload{}, &config{limit: time.Minute, cache: cache}, io.Discard)
	if len(r.failures) != 1 || r.failures[0].what != "interrupted" || r.missing != nil {
		t.Errorf("before the download: %+v", r)
	}
}

// Without its tools nothing is run, and that is said kernel by kernel.
func TestRunWithoutTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tt := range []struct {
		min  int
		want bool
	}{{0, true}, {1, false}} {
		var b strings.Builder
		cfg := &config{kernels: matrix, jobs: 2, min: tt.min, cache: t.TempDir(), limit: time.Minute}
		if got := run(t.Context(), cfg, &b); got != tt.want {
			t.Errorf("-min %d: %v", tt.min, got)
		}
		for _, k := range matrix {
			if !strings.Contains(b.String(), "skip  "+k.name) {
				t.Errorf("no word of %s in\n%s", k.name, b.String())
			}
		}
		if !strings.HasSuffix(b.String(), "\nkernels: 0 passed, 0 failed, 5 skipped\n") {
			t.Errorf("the last line of\n%s", b.String())
		}
	}
}

// The jobs of a run, and no more, are at work at the same time.
func TestEach(t *testing.T) {
	busy := make(chan bool, 2)
	n := 0
	for range each(matrix, 2, func(k kernel) *result {
		select {
		case busy <- true:
		default:
			t.Error("a third at the same time")
		}
		time.Sleep(time.Millisecond)
		<-busy
		return &result{kernel: k}
	}) {
		n++
	}
	if n != len(matrix) {
		t.Errorf("%d results of %d", n, len(matrix))
	}
}

// A package comes with its testdata and without the packages below it.
func TestAddPackage(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.go", "testdata/x", "testdata/deep/y", "sub/b.go"} {
		writeFile(t, filepath.Join(dir, name), []byte(name))
	}
	p := &payload{}
	if err := p.addPackage("src/p", dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range p.files {
		got = append(got, f.name+"="+string(f.data))
	}
	if s := strings.Join(got, " "); s != "src/p/a.go=a.go src/p/testdata/deep/y=testdata/deep/y src/p/testdata/x=testdata/x" {
		t.Errorf("files %q", s)
	}
}
