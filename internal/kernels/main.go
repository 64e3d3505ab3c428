// Command kernels runs the tests that ask the kernel in several kernels, each
// booted in qemu:
//
//	$ go run ./internal/kernels
//	ok    6.12  6.12.117+deb12-cloud-amd64: 794 passed, 0 failed, 1 skipped, 45 s
//	…
//	kernels: 5 passed, 0 failed, 0 skipped
//
// The kernels are Debian's, fetched with this machine's apt into a cache and not
// installed. A kernel that cannot be had is skipped by name. A test is skipped
// where the table in skips.go says so, and nowhere else: a kernel that is new
// enough for it must run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const usage = `Usage: kernels [-run REGEXP] [-kernels LIST] [-j N] [-min N] [-cache DIR] [-timeout DURATION] [-v]

Runs the tests that ask the kernel in several kernels, booted in qemu. It takes
Linux on amd64, qemu-system-x86_64, xz, and Debian's apt for kernels that are not
in the cache yet.

Flags:`

type config struct {
	run     string
	kernels []kernel
	jobs    int
	min     int
	cache   string
	limit   time.Duration
	verbose bool
}

// bootTime is what of the time limit is left for the kernel to come up and go
// down.
const bootTime = 20 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one kills
	cfg, err := parseFlags(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "kernels: %v (kernels -h tells how to use it)\n", err)
		os.Exit(2)
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		fmt.Fprintf(os.Stderr, "kernels: %s/%s: %v, it takes linux/amd64\n", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
		os.Exit(1)
	}
	if !run(ctx, cfg, os.Stdout) {
		os.Exit(1)
	}
}

func parseFlags(args []string, stdout io.Writer) (*config, error) {
	var names []string
	for _, k := range matrix {
		names = append(names, k.name)
	}
	cfg := &config{}
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.run, "run", "", "run only tests that match the `REGEXP`, as of go test")
	list := flags.String("kernels", strings.Join(names, ","), "run only these, a `LIST`")
	flags.IntVar(&cfg.jobs, "j", 2, "boot `N` at a time")
	flags.IntVar(&cfg.min, "min", 1, "fail if fewer than `N` kernels could be had and run")
	flags.StringVar(&cfg.cache, "cache", "", "keep the kernels in this `DIR` (default timewait-kernels in the user's cache)")
	flags.DurationVar(&cfg.limit, "timeout", 10*time.Minute, "the time limit of each kernel, a `DURATION`")
	flags.BoolVar(&cfg.verbose, "v", false, "print what the guests say as they say it")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.jobs < 1:
		return nil, fmt.Errorf("-j %d: at least one at a time", cfg.jobs)
	case cfg.limit <= 2*bootTime:
		return nil, fmt.Errorf("-timeout %v: coming up and going down may take %v", cfg.limit, bootTime)
	}
	if _, err := regexp.Compile(cfg.run); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	for name := range strings.SplitSeq(*list, ",") {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, fmt.Errorf("-kernels: no %q among %s", name, strings.Join(names, ", "))
		}
		cfg.kernels = append(cfg.kernels, matrix[i])
	}
	if cfg.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("-cache: %w", err)
		}
		cfg.cache = filepath.Join(dir, "timewait-kernels")
	}
	// apt writes it into a configuration of its own.
	cfg.cache, err = filepath.Abs(cfg.cache)
	return cfg, err
}

// run runs the matrix and reports whether all is well.
func run(ctx context.Context, cfg *config, stdout io.Writer) bool {
	out := &lockedWriter{w: stdout}
	var p *payload
	missing := missingTool()
	if missing == nil {
		tmp, err := os.MkdirTemp("", "timewait-kernels-")
		if err == nil {
			defer os.RemoveAll(tmp)
			p, err = build(ctx, tmp)
		}
		if err != nil {
			fmt.Fprintf(out, "the tests could not be built: %v\n", err)
		}
	}
	do := func(k kernel) *result {
		r := &result{kernel: k, missing: missing}
		if missing == nil {
			r.run(ctx, p, cfg, out)
		}
		return r
	}

	var passed, failed, skipped int
	for r := range each(cfg.kernels, cfg.jobs, do) {
		fmt.Fprint(out, r)
		switch {
		case r.missing != nil:
			skipped++
		case len(r.failures) > 0:
			failed++
		default:
			passed++
		}
	}
	enough := passed+failed >= cfg.min
	if !enough {
		fmt.Fprintf(out, "FAIL  %d kernels were run, and -min is %d\n", passed+failed, cfg.min)
	}
	fmt.Fprintf(out, "kernels: %d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed == 0 && enough
}

// each calls do for every kernel, jobs at a time, and sends the results as they
// come.
func each(kernels []kernel, jobs int, do func(kernel) *result) <-chan *result {
	todo, results := make(chan kernel), make(chan *result)
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() {
			for k := range todo {
				results <- do(k)
			}
		})
	}
	go func() {
		for _, k := range kernels {
			todo <- k
		}
		close(todo)
		wg.Wait()
		close(results)
	}()
	return results
}

func missingTool() error {
	for tool, pack := range map[string]string{qemu: "qemu-system-x86", "xz": "xz-utils"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s (of Debian's package %s)", tool, pack)
		}
	}
	return nil
}
