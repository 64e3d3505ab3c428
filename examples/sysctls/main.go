// Sysctls shows the settings that decide about the states of TCP sockets: what
// they are, what the kernel would have, and which values are traps:
//
//	$ go run ./examples/sysctls -changed
//	  setting             value  default  what it is
//	* net.core.somaxconn  8192   4096     the highest backlog of listen(), so of its queues
//
//	  setting                   value  default  what it is
//	! net.ipv4.tcp_fin_timeout  90 s   60 s     how long FIN_WAIT2 without an owner lasts; not TIME_WAIT
//
//	net.ipv4.tcp_fin_timeout=90 is a trap: FIN_WAIT2 ends after 1m0s: above 60 s it lasts twice what is over 60 s. Better: 60 or less, 120 or more.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sysctl"
)

const help = `Usage: sysctls [-changed] [-json] [-netns NAME|PATH|PID] [SETTING...]

Shows the kernel settings that decide about the states of TCP sockets: name,
value, the kernel's default, and what they are. It changes none.

With a SETTING it tells all about that one: net.ipv4.tcp_fin_timeout, with
slashes, or tcp_fin_timeout alone; 'tcp_tw_*' is all that match.

Marks: * the value is not the kernel's default
       ! the value is a trap; why stands below the table
Value: - there is no such setting in this kernel or this network namespace
Default: computed is what follows from the memory of the host, or from how the
kernel was built`

func main() { cli.Main("sysctls", run) }

func run(_ context.Context, args []string, stdout, stderr io.Writer) error {
	flags := cli.NewFlags("sysctls", help)
	var (
		asJSON  = flags.Bool("json", false, "print one JSON array of objects, with all that is known")
		changed = flags.Bool("changed", false, "leave out settings that are as the kernel has them by itself,\nas far as that is known, and are no trap")
		netns   = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.ParseFirst(args, stdout); err != nil {
		return err
	}
	keys, err := selectKeys(flags.Args())
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	proc, done, err := cli.ProcSys(*netns)
	if err != nil {
		return err
	}
	defer done.Close()

	rows := []*row{}
	var failures []error
	for _, key := range keys {
		r, err := read(key, proc)
		switch {
		case errors.Is(err, sysctl.ErrNoProcSys):
			return err // and so for the others
		case err != nil:
			failures = append(failures, err)
		case !*changed || r.Changed || r.Trap != nil:
			rows = append(rows, r)
		}
	}
	switch {
	case *asJSON:
		err = json.NewEncoder(stdout).Encode(rows)
	case flags.NArg() > 0:
		err = printLong(stdout, rows, columns(stdout))
	default:
		err = printTable(stdout, rows, columns(stdout))
	}
	if err == nil && len(rows) == 0 && len(failures) == 0 && !*asJSON {
		fmt.Fprintln(stderr, "no setting is changed")
	}
	if err == nil && len(failures) > 0 {
		err = failed(failures)
	}
	return err
}

// failed is one error for all.
func failed(failures []error) error {
	if n := len(failures) - 1; n > 0 {
		return fmt.Errorf("%w (and %d more like it)", failures[0], n)
	}
	return failures[0]
}

// selectKeys returns the keys that the arguments name, in the order of the
// arguments and each once; all of them if there are none.
func selectKeys(args []string) (keys []sysctl.AnyKey, err error) {
	if len(args) == 0 {
		return slices.Collect(sysctl.Keys()), nil
	}
	for _, arg := range args {
		// With dots: of a pattern a * does not match a slash.
		pattern := strings.ReplaceAll(strings.TrimPrefix(arg, "/proc/sys/"), "/", ".")
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("%q is no pattern: %w", arg, err)
		}
		found := false
		for key := range sysctl.Keys() {
			info := key.Info()
			whole, _ := path.Match(pattern, info.Name)
			last, _ := path.Match(pattern, path.Base(info.Path))
			if !whole && !last {
				continue
			}
			found = true
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		if !found {
			return nil, fmt.Errorf("%q matches no setting that is known here", arg)
		}
	}
	return keys, nil
}

// read looks at a setting. That it is not there is no error.
func read(key sysctl.AnyKey, proc fs.FS) (*row, error) {
	info := key.Info()
	r := &row{
		Name: info.Name, Path: "/proc/sys/" + info.Path, Unit: info.Unit, Summary: info.Summary, About: info.Doc, DefaultRule: info.Default,
		Range: info.Range, Since: info.Since, Removed: info.Removed, Scope: info.Scope.String(), Risk: info.Risk,
	}
	value, err := key.GetAnyFS(proc)
	r.standard, r.known = key.DefaultAnyFS(proc)
	if r.known {
		r.Default = plainValue(r.standard, info.Unit)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Missing = missing(info)
		return r, nil
	case err != nil:
		return nil, err
	}
	r.value = value
	r.Value = plainValue(value, info.Unit)
	r.Changed = r.known && text(value, info.Unit) != text(r.standard, info.Unit)
	if trap, is := key.TrapAnyFS(value, proc); is {
		r.Trap = &trapText{trap.Effect, trap.Better}
	}
	return r, nil
}

// missing says why a setting is not there.
func missing(info sysctl.Info) string {
	switch {
	case info.Removed != "":
		return "gone since Linux " + info.Removed
	case strings.HasPrefix(info.Path, "net/netfilter/"):
		return "not here: the module nf_conntrack is not loaded, or the kernel is built without it"
	case info.Scope == sysctl.Host:
		return "not here: only the initial network namespace has it"
	}
	return "not in this kernel: it came with Linux " + info.Since
}
