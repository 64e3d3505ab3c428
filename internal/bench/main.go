// Command bench measures this module beside what else there is, on the same
// sockets in the same minutes, and prints what each takes as a multiple of what a
// C program takes that sends the same request and looks at nothing:
//
//	$ cd internal/bench && sudo go run .
//
// The sockets are loopback connections in network namespaces that it makes. It is
// a module of its own, so that the modules that it compares with are no business
// of this module's users.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/seed16c515c6/timewait/internal/cli"
)

const help = `Usage: bench [-sizes LIST] [-reps N] [-only REGEXP] [-cpu] [-json FILE]

Makes TCP sockets in network namespaces of its own, and measures on them this
module, other Go modules, ss and netstat, and the floor: a C program that sends
the request, receives the answer and walks its message headers. It takes root,
Linux 6.1, gcc, and a few minutes.

Of each size there are up to three namespaces. In one 80 in 100 sockets are ESTABLISHED
and the others in TIME_WAIT, in the other, up to 100k, 99 in 100 are in TIME_WAIT.
In a third, for health.Take, all are ESTABLISHED, and each is to a destination of
its own.

In a repetition each contender of an operation has its turn, in rotating order: a
process of its own that does the operation once unmeasured, and then several times
(once and at once, from 400k sockets on: then the allocations are those of a first
call). Its result is the median. The ratio of a repetition is that to the floor's
result in the same repetition. In the table stands the median of the ratios, and
behind it their quartiles. The floor's own quartiles are of its results to their
median: how quiet the machine was.

Beside Count stands the walk: the floor's program, asking for states that no socket
is in. What it takes, the kernel takes to go through its tables.

ss and netstat are measured from start to end, output to /dev/null. The Go
contenders share an executable, whose size each resident set has in it.

Flags:`

type config struct {
	sizes   []size
	reps    int
	cpu     bool
	only    *regexp.Regexp
	json    string
	command string
}

func main() { cli.Main("bench", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if role, ok := roles[args[0]]; ok {
			return role(ctx, args[1:], stdout, stderr)
		}
	}
	cfg, err := parseFlags(args, stdout)
	if err != nil {
		return err
	}
	r, err := measure(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	if cfg.json != "" {
		text, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(cfg.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if err := r.write(stdout); err != nil {
		return err
	}
	if r.failed() {
		return errors.New("not all could be measured")
	}
	return nil
}

func parseFlags(args []string, stdout io.Writer) (*config, error) {
	flags := cli.NewFlags("bench", help)
	sizes := flags.String("sizes", "1k,10k,100k,1M", "how many sockets: a `LIST` of numbers")
	reps := flags.Int("reps", 15, "repeat each measurement `N` times; fewer than 15 say little")
	only := flags.String("only", "", "measure only what matches this `REGEXP`: operation, colon, blank, contender,\nas in \"Lookup: timewait\"; the floors are added")
	cpu := flags.Bool("cpu", false, "compare CPU times: on a machine that has other things to do, a process that is\ninterrupted takes more time, but hardly more CPU time")
	file := flags.String("json", "", "write every single measurement to this `FILE`")
	if err := flags.Parse(args, stdout); err != nil {
		return nil, err
	}
	cfg := &config{reps: *reps, cpu: *cpu, json: *file, command: "go run ."}
	for _, arg := range args {
		cfg.command += " " + quote(arg)
	}
	var err error
	if cfg.sizes, err = parseSizes(*sizes); err != nil {
		return nil, &cli.UsageError{Err: fmt.Errorf("-sizes: %w", err)}
	}
	if cfg.reps < 1 {
		return nil, &cli.UsageError{Err: fmt.Errorf("-reps %d: at least one", cfg.reps)}
	}
	if cfg.only, err = regexp.Compile(*only); err != nil {
		return nil, &cli.UsageError{Err: fmt.Errorf("-only: %w", err)}
	}
	if len(selected(cfg.only)) == 0 {
		return nil, &cli.UsageError{Err: fmt.Errorf("-only %s: nothing matches", *only)}
	}
	return cfg, nil
}

// quote makes one word for a shell of an argument.
func quote(arg string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_./,:=", r)
	}
	if arg != "" && strings.TrimFunc(arg, plain) == "" {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
