package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sysctl"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// oneLine is the text of a file with single spaces.
func oneLine(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// line returns the line of the table about the setting, without its mark.
func line(t *testing.T, table, name string) (mark string, rest string) {
	t.Helper()
	for l := range strings.Lines(table) {
		if fields := strings.Fields(l[1:]); len(fields) > 0 && fields[0] == name {
			return l[:1], strings.TrimSuffix(strings.TrimPrefix(l[2:], name), "\n")
		}
	}
	t.Fatalf("no line about %s:\n%s", name, table)
	return "", ""
}

// Every setting has a line, with the value of its file.
func TestTable(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_fin_timeout", "90")
		nstest.Set(t, "ipv4/tcp_rfc1337", "1")
		nstest.Set(t, "ipv4/tcp_keepalive_time", "600")
		nstest.Set(t, "ipv4/ip_local_reserved_ports", "8080,9000-9010")
		out := clitest.Output(t, run)
		if pipe, errs, status := clitest.Exit(t, clitest.Command()); pipe != out || errs != "" || status != 0 {
			t.Errorf("in a pipe: status %d, stderr %q, stdout\n%s", status, errs, pipe)
		}
		for key := range sysctl.Keys() {
			info := key.Info()
			_, rest := line(t, out, info.Name)
			if !strings.HasSuffix(rest, "  "+info.Summary) {
				t.Errorf("%s: %q has no summary", info.Name, rest)
			}
			want := "-"
			if _, err := os.Stat("/proc/sys/" + info.Path); err == nil {
				want = oneLine(t, "/proc/sys/"+info.Path)
			}
			if buckets, shared := strings.CutPrefix(want, "-"); shared && buckets != "" && info.Name == "net.ipv4.tcp_ehash_entries" {
				want = buckets + " shared"
			}
			if !strings.HasPrefix(strings.TrimLeft(rest, " ")+" ", want+" ") {
				t.Errorf("%s: %q, want the value %q", info.Name, rest, want)
			}
		}
		for name, want := range map[string]string{
			"net.ipv4.tcp_fin_timeout": "!", "net.ipv4.tcp_rfc1337": "!", "net.ipv4.tcp_keepalive_time": "*",
			"net.ipv4.ip_local_reserved_ports": "*", "net.ipv4.tcp_keepalive_probes": " ", "net.ipv4.tcp_tw_recycle": " ",
		} {
			if mark, _ := line(t, out, name); mark != want {
				t.Errorf("%s has the mark %q, want %q", name, mark, want)
			}
		}
		_, below, _ := strings.Cut(out, "net.ipv4.tcp_fin_timeout=90 is a trap: ")
		if !strings.HasPrefix(below, "FIN_WAIT2 ends after 1m0s") || !strings.Contains(below, "\nnet.ipv4.tcp_rfc1337=1 is a trap: ") || strings.Count(out, " is a trap: ") != 2 {
			t.Errorf("the traps are not explained:\n%s", out)
		}

		out = clitest.Output(t, run, "-changed")
		for _, name := range []string{"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_rfc1337", "net.ipv4.tcp_keepalive_time"} {
			line(t, out, name)
		}
		if strings.Contains(out, "tcp_keepalive_probes") || strings.Contains(out, "tcp_tw_recycle") {
			t.Errorf("-changed shows what is not:\n%s", out)
		}

		for _, args := range [][]string{nil, {"-json"}, {"tcp_mem"}} {
			clitest.OnFullDisk(t, "sysctls", args...)
		}
	})
}

// Nothing is wider than the terminal, and nothing is lost but in a list of ports.
func TestWidths(t *testing.T) {
	var rows []*row
	for key := range sysctl.Keys() {
		r, err := read(key, os.DirFS("/proc/sys"))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	ports := rows[slices.IndexFunc(rows, func(r *row) bool { return r.Name == "net.ipv4.ip_local_reserved_ports" })]
	ports.value = slices.Repeat(sysctl.Ports{{First: 1, Last: 2}}, 500)
	trap := rows[slices.IndexFunc(rows, func(r *row) bool { return r.Name == "net.ipv4.tcp_fin_timeout" })]
	trap.Trap = &trapText{strings.Repeat("word ", 50), "another"}
	for _, width := range []int{0, 80, 100, 132, 200} {
		for name, print := range map[string]func(*bytes.Buffer) error{
			"table": func(b *bytes.Buffer) error { return printTable(b, rows, width) },
			"long":  func(b *bytes.Buffer) error { return printLong(b, rows, width) },
		} {
			var b bytes.Buffer
			if err := print(&b); err != nil {
				t.Error(err)
			}
			for l := range strings.Lines(b.String()) {
				if n := len([]rune(l)) - 1; width > 0 && n > width && strings.Contains(strings.TrimSpace(l), " ") && !strings.Contains(l, "1-2,1-2,") {
					t.Errorf("%s: %d columns of %d: %q", name, n, width, l)
				}
			}
			flat := strings.Join(strings.Fields(b.String()), " ")
			for _, r := range rows {
				text := r.Summary
				if name == "long" {
					text = r.About
				}
				if !strings.Contains(flat, text) || !strings.Contains(flat, r.Name) {
					t.Errorf("%s, %d columns: %s is not whole", name, width, r.Name)
				}
			}
		}
	}
}

func TestLong(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_fin_timeout", "61")
		info := sysctl.TCPFinTimeout.Info()
		want := clitest.Output(t, run, "net.ipv4.tcp_fin_timeout")
		flat := strings.Join(strings.Fields(want), " ")
		for _, part := range []string{"net.ipv4.tcp_fin_timeout = 61 s\n", "/proc/sys/" + info.Path} {
			if !strings.Contains(want, part) {
				t.Errorf("no %q in\n%s", part, want)
			}
		}
		for _, part := range []string{info.Doc, info.Risk, info.Range, "trap FIN_WAIT2 ends after 2s", "default 60 ", "each network namespace has its own", "Linux 2.2"} {
			if !strings.Contains(flat, part) {
				t.Errorf("no %q in\n%s", part, want)
			}
		}
		clitest.Fits(t, want, 80, 20)
		for _, name := range []string{"net/ipv4/tcp_fin_timeout", "/proc/sys/net/ipv4/tcp_fin_timeout", "tcp_fin_timeout", "*.tcp_fin_t*", "net/ipv4/tcp_fin_*", "tcp_fi[n]_timeout"} {
			if got := clitest.Output(t, run, name); got != want {
				t.Errorf("%s:\n%s", name, got)
			}
		}
		if got := clitest.Output(t, run, "tcp_fin_timeout", "net.ipv4.tcp_fin_timeout", "tcp_fin*"); got != want {
			t.Errorf("three times:\n%s", got)
		}
		got := clitest.Output(t, run, "tcp_tw_*", "somaxconn")
		var names []string
		for l := range strings.Lines(got) {
			if strings.HasPrefix(l, "net.") {
				names = append(names, strings.TrimRight(strings.Fields(l)[0], ":"))
			}
		}
		if want := []string{"net.ipv4.tcp_tw_recycle", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_tw_reuse_delay", "net.core.somaxconn"}; !slices.Equal(names, want) {
			t.Errorf("tcp_tw_* somaxconn: %q", names)
		}
		if !strings.Contains(got, "net.ipv4.tcp_tw_recycle: gone since Linux 4.12\n") {
			t.Errorf("nothing about the end of tcp_tw_recycle:\n%s", got)
		}
		// Of the host, so not shown here.
		if got := clitest.Output(t, run, "tcp_mem"); !strings.HasPrefix(got, "net.ipv4.tcp_mem: not here") {
			t.Errorf("tcp_mem:\n%s", got)
		}
		out, errs, status := clitest.Exit(t, clitest.Command("-changed", "tcp_keepalive*"))
		if out != "" || errs != "no setting is changed\n" || status != 0 {
			t.Errorf("-changed tcp_keepalive*: status %d, stdout %q, stderr %q", status, out, errs)
		}
	})
}

func TestJSON(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_fin_timeout", "90")
		nstest.Set(t, "ipv4/ip_local_reserved_ports", "8080,9000-9010")
		var rows []map[string]any
		out := clitest.Output(t, run, "-json")
		if err := json.Unmarshal([]byte(out), &rows); err != nil {
			t.Fatal(err)
		}
		byName := map[string]map[string]any{}
		for _, r := range rows {
			byName[r["name"].(string)] = r
		}
		n := 0
		for key := range sysctl.Keys() {
			n++
			if r := byName[key.Info().Name]; r == nil || r["about"] != key.Info().Doc {
				t.Errorf("%s: %v", key.Info().Name, r)
			}
		}
		if len(rows) != n {
			t.Errorf("%d objects, want %d", len(rows), n)
		}
		for name, want := range map[string]string{
			"tcp_fin_timeout":         "90 60 true true",
			"ip_local_reserved_ports": "[[8080 8080] [9000 9010]] [] true false",
			"ip_local_port_range":     "[32768 60999] [32768 60999] false false",
			"tcp_rfc1337":             "false false false false",
			"tcp_tw_reuse":            "2 2 false false",
			"tcp_mem":                 "<nil> <nil> false false",
			"tcp_tw_recycle":          "<nil> false false false",
		} {
			r := byName["net.ipv4."+name]
			if got := fmt.Sprint(r["value"], r["default"], r["changed"], r["trap"] != nil); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			if missing := r["missing"] != nil; missing != (r["value"] == nil) {
				t.Errorf("%s: value %v, missing %v", name, r["value"], r["missing"])
			}
		}
		if out := clitest.Output(t, run, "-json", "-changed", "tcp_keepalive*"); out != "[]\n" {
			t.Errorf("nothing changed: %q", out)
		}
	})
}

func TestNetNS(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() { nstest.Set(t, "ipv4/tcp_fin_timeout", "33") })
	const want = "net.ipv4.tcp_fin_timeout = 33 s\n"
	if out := clitest.Output(t, run, "-netns", clitest.Path(there), "tcp_fin_timeout"); !strings.HasPrefix(out, want) {
		t.Errorf("by a path:\n%s", out)
	}
	clitest.InNamedNamespace(t, there, "blue", func() {
		out, errs, status := clitest.Exit(t, clitest.Command("-netns", "blue", "tcp_fin_timeout"))
		if !strings.HasPrefix(out, want) || errs != "" || status != 0 {
			t.Errorf("by a name: status %d, stderr %q\n%s", status, errs, out)
		}
		if out := clitest.Output(t, run, "tcp_fin_timeout"); strings.HasPrefix(out, want) {
			t.Errorf("without -netns:\n%s", out)
		}
	})

	// Of a process that waits in the namespace.
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	there.Do(func() { err = cmd.Start() })
	if err != nil {
		nstest.Skip(t, "cat: %v", err)
	}
	if out := clitest.Output(t, run, "-netns", fmt.Sprint(cmd.Process.Pid), "tcp_fin_timeout"); !strings.HasPrefix(out, want) {
		t.Errorf("by a process:\n%s", out)
	}
	_ = in.Close()
	_ = cmd.Wait()
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args   []string
		status int
		words  []string
	}{
		{[]string{"-netns", "no-such-name"}, 1, []string{`no network namespace "no-such-name"`}},
		{[]string{"-netns", "2147483646"}, 1, []string{`no network namespace "2147483646"`}},
		{[]string{"-netns", os.DevNull}, 1, []string{os.DevNull, "not a network namespace"}},
		{[]string{"-netns", ""}, 2, []string{"-netns: no name given", "sysctls -h"}},
		{[]string{"tcp_no_such_thing"}, 2, []string{`"tcp_no_such_thing" matches no setting`}},
		{[]string{"tcp_fin_timeout", "-json"}, 2, []string{`"-json" matches no setting`}},
		{[]string{""}, 2, []string{`"" matches no setting`}},
		{[]string{"tcp_["}, 2, []string{`"tcp_[" is no pattern`}},
		{[]string{"-5"}, 2, []string{"-5"}},
	} {
		clitest.Fails(t, "sysctls", tt.args, tt.status, tt.words...)
	}
}

// What cannot be read is an error, but not for the rest.
func TestBrokenFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "net/ipv4"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net/ipv4/tcp_fin_timeout"), []byte("soon\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := read(sysctl.TCPFinTimeout, os.DirFS(dir)); r != nil || err == nil {
		t.Errorf("%v, %v, want an error", r, err)
	}
	if r, err := read(sysctl.TCPKeepaliveTime, os.DirFS(dir)); err != nil || r.Missing == "" || r.standard != 2*time.Hour {
		t.Errorf("%+v, %v, want a setting that is not there", r, err)
	}
	if err := failed([]error{os.ErrPermission, os.ErrClosed}); !strings.Contains(err.Error(), "1 more") {
		t.Errorf("two failures: %v", err)
	}
}

// Without privilege one's own namespace can be looked at, and no other.
func TestWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	cmd := clitest.Command("-netns", clitest.Inherited)
	clitest.Unprivileged(t, cmd, there)
	out, errs, status := clitest.Exit(t, cmd)
	if status != 1 || out != "" {
		t.Errorf("another's: status %d, stdout %q", status, out)
	}
	clitest.OneLine(t, errs, "sysctls", clitest.Inherited, "CAP_SYS_ADMIN", "operation not permitted\n")
	for _, args := range [][]string{{"tcp_fin_timeout"}, {"-netns", "/proc/self/ns/net", "tcp_fin_timeout"}} {
		cmd = clitest.Command(args...)
		clitest.Unprivileged(t, cmd, there)
		out, errs, status = clitest.Exit(t, cmd)
		if status != 0 || errs != "" || !strings.HasPrefix(out, "net.ipv4.tcp_fin_timeout = ") {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, out, errs)
		}
	}
}

func TestHelp(t *testing.T) {
	clitest.Help(t, "sysctls", 35, "-changed", "-json", "-netns", "PID", "tcp_tw_*", "* the value", "! the value", "computed")
}
