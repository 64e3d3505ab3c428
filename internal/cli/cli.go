// Package cli is what the example programs share: their exit statuses, -h,
// Ctrl-C, and the network namespace of -netns.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	innernetns "github.com/seed16c515c6/timewait/internal/netns"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sysctl"
	"github.com/vishvananda/netns"
)

// Main runs a program and exits: 0 when run returns nil or was asked for help, 2
// for bad usage, 1 for any other error, which is printed in one line. The
// context ends at the first Ctrl-C or SIGTERM; a second one kills the program.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(status(name, err, os.Stderr))
}

func status(name string, err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	Report(name, err, stderr)
	if usage := (*UsageError)(nil); errors.As(err, &usage) {
		return 2
	}
	return 1
}

// Report prints the error that ends a program.
func Report(name string, err error, stderr io.Writer) {
	hint := ""
	if usage := (*UsageError)(nil); errors.As(err, &usage) {
		hint = fmt.Sprintf(" (%s -h tells how to use it)", name)
	}
	fmt.Fprintf(stderr, "%s: %s%s\n", name, text(err), hint)
}

// text is the error without our package's name, and what a signal has ended by what it
// is called.
func text(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	return strings.TrimPrefix(err.Error(), "sockdiag: ")
}

// UsageError is a mistake on the command line.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns what was wrong.
func (e *UsageError) Unwrap() error { return e.Err }

// Flags is a flag.FlagSet that leaves printing to Main, and prints its help where
// it is asked for it.
type Flags struct {
	*flag.FlagSet
	help string
}

// NewFlags returns the flags of a program. The help is the text above the list
// of flags that -h prints.
func NewFlags(name, help string) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), help: help}
	f.SetOutput(io.Discard)
	return f
}

// Parse parses the command line, which must hold nothing but flags. -h prints the
// help to stdout and returns flag.ErrHelp; what cannot be parsed is a
// *UsageError, and so is an empty -netns: a script whose variable is unset would
// be shown the wrong namespace.
func (f *Flags) Parse(args []string, stdout io.Writer) error {
	if err := f.ParseFirst(args, stdout); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return &UsageError{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	return nil
}

// ParseFirst is Parse for programs that take arguments behind the flags: Args
// returns them.
func (f *Flags) ParseFirst(args []string, stdout io.Writer) error {
	err := f.FlagSet.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, f.help)
		fmt.Fprintln(stdout, "\nFlags:")
		f.SetOutput(stdout)
		f.PrintDefaults()
		return err
	case err != nil:
		return &UsageError{err}
	case f.Given("netns") && f.Lookup("netns").Value.String() == "":
		return &UsageError{errors.New("-netns: no name given")}
	}
	return nil
}

// ParseMixed is ParseFirst for programs that are typed like ss(8): "-tan" is
// "-t -a -n" where there is no flag of that name and -t takes no value, and flags
// may stand behind and among the arguments, up to a "--".
func (f *Flags) ParseMixed(args []string, stdout io.Writer) error {
	var flags, others []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, isFlag := strings.CutPrefix(arg, "-")
		switch {
		case arg == "--":
			others = append(others, args...)
			args = nil
		case !isFlag || name == "":
			others = append(others, arg)
		case f.isBundle(name):
			for _, letter := range name {
				flags = append(flags, "-"+string(letter))
			}
		default:
			flags = append(flags, arg)
			name = strings.TrimPrefix(name, "-")
			if known := f.Lookup(name); known != nil && !isBool(known) && len(args) > 0 {
				flags = append(flags, args[0])
				args = args[1:]
			}
		}
	}
	return f.ParseFirst(append(append(flags, "--"), others...), stdout)
}

// isBundle reports whether name, which has had a "-" before it, is several flags.
// Only the first has to be known: about the others it is for the FlagSet to
// complain.
func (f *Flags) isBundle(name string) bool {
	whole, _, _ := strings.Cut(name, "=")
	if f.Lookup(strings.TrimPrefix(whole, "-")) != nil || len(name) < 2 {
		return false
	}
	first := f.Lookup(name[:1])
	return first != nil && isBool(first)
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Given reports whether the flag was on the command line, be it with its default.
func (f *Flags) Given(name string) (given bool) {
	f.Visit(func(g *flag.Flag) { given = given || g.Name == name })
	return given
}

// NetNSHelp is the help of -netns.
const NetNSHelp = "look into this network namespace: a `NAME` under /run/netns, a PID, or a\n" +
	"path such as /proc/PID/ns/net; any but one's own takes CAP_SYS_ADMIN\n" +
	"over it and in one's own user namespace, and a PID the right to look\n" +
	"into it (rootless containers: run this by nsenter -U -n -t PID)"

// Dial opens a Client in the namespace that -netns names, or for "" in the
// caller's.
func Dial(name string) (*sockdiag.Client, error) {
	if name == "" {
		return sockdiag.Dial(nil)
	}
	ns, err := openNetNS(name)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	c, err := sockdiag.Dial(&sockdiag.Config{NetNS: int(ns)})
	if err == nil {
		return c, nil
	}
	// Dial knows it by the number of its descriptor, which says nothing here, and
	// neither does "sockdiag: dial".
	var op *sockdiag.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return nil, cannotEnter(name, err)
}

// openNetNS opens the network namespace that -netns names.
func openNetNS(name string) (netns.NsHandle, error) {
	open := netns.GetFromName
	if strings.Contains(name, "/") {
		open = netns.GetFromPath
	}
	ns, err := open(name)
	if pid, bad := strconv.ParseUint(name, 10, 31); bad == nil && errors.Is(err, fs.ErrNotExist) {
		ns, err = netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", pid))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("there is no network namespace %q: %w", name, err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("may not open network namespace %q (of a PID it takes the right to look into that process): %w", name, err)
	case err != nil:
		err = fmt.Errorf("cannot look into network namespace %q: %w", name, err)
	}
	return ns, err
}

// cannotEnter says in the words of the command line why what was opened cannot be
// used.
func cannotEnter(name string, err error) error {
	var call *os.SyscallError
	switch {
	case errors.Is(err, fs.ErrInvalid):
		return fmt.Errorf("%q is not a network namespace: %w", name, fs.ErrInvalid)
	case errors.As(err, &call) && call.Syscall == "setns" && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("may not enter network namespace %q (it takes CAP_SYS_ADMIN over it and in one's own user namespace): %w", name, call)
	}
	return fmt.Errorf("cannot look into network namespace %q: %w", name, err)
}

// ProcSys opens /proc/sys as it looks in the namespace that -netns names, or for
// "" in the caller's. The Closer is for after the last use.
func ProcSys(name string) (fs.FS, io.Closer, error) {
	if name == "" {
		return os.DirFS("/proc/sys"), io.NopCloser(nil), nil
	}
	ns, err := openNetNS(name)
	if err != nil {
		return nil, nil, err
	}
	defer ns.Close()
	file, err := innernetns.Dup(int(ns))
	if err == nil {
		if err = innernetns.Do(int(file.Fd()), func() error { return nil }); err == nil {
			return sysctl.InNamespace(int(file.Fd())), file, nil
		}
		_ = file.Close()
	}
	return nil, nil, cannotEnter(name, err)
}
