package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// socket makes a socket of the calling thread's namespace, bound to the address
// if that is valid. It is closed when the test ends.
func socket(t *testing.T, typ int, local netip.AddrPort) (fd int) {
	t.Helper()
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if !local.IsValid() {
		return fd
	}
	if err := unix.Bind(fd, sockaddr(local)); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	return fd
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func listen(t *testing.T, address string) (fd int) {
	t.Helper()
	fd = socket(t, unix.SOCK_STREAM, netip.MustParseAddrPort(address))
	if err := unix.Listen(fd, 9); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	return fd
}

func connect(t *testing.T, fd int, to string) {
	t.Helper()
	if err := unix.Connect(fd, sockaddr(netip.MustParseAddrPort(to))); err != nil {
		t.Fatal(os.NewSyscallError("connect", err))
	}
}

// scene makes sockets in every state, and those whose ends are written in some
// special way.
func scene(t *testing.T) {
	t.Helper()
	for _, family := range nstest.Families {
		nstest.States(t, family)
	}
	listen(t, "127.0.0.1:8080")
	listen(t, "[::]:443")
	one := socket(t, unix.SOCK_STREAM, netip.AddrPort{})
	connect(t, one, "127.0.0.1:8080")
	socket(t, unix.SOCK_DGRAM, netip.AddrPortFrom(netip.IPv6Loopback(), 0))
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
		unix.BindToDevice(fd, "lo"),
		unix.Bind(fd, &unix.SockaddrInet6{Port: 444}),
		unix.Listen(fd, 3),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	socket(t, unix.SOCK_DGRAM, netip.MustParseAddrPort("127.0.0.1:53"))
	connect(t, socket(t, unix.SOCK_DGRAM, netip.AddrPort{}), "127.0.0.1:53")
	socket(t, unix.SOCK_DGRAM, netip.MustParseAddrPort("[::]:5353"))
}

// ss runs ss in the calling thread's namespace.
func ss(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		t.Fatalf("ss %q: %v", args, err)
	}
	return string(out)
}

// rows are the lines in order, with single spaces, without the sockets that are
// only bound: ss has learned of them late, and says UNCONN of them.
func rows(text string) []string {
	var rows []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "tcp" && (fields[1] == "BOUND-INACTIVE" || fields[1] == "UNCONN") {
			continue
		}
		rows = append(rows, strings.Join(fields, " "))
	}
	slices.Sort(rows)
	return rows
}

// sameAsSS runs both with the same arguments. Sockets live on meanwhile: it
// compares when ss says before and after the same.
func sameAsSS(t *testing.T, edit func(theirs bool, row string) string, args ...string) []string {
	t.Helper()
	all := func(theirs bool, text string) []string {
		rows := rows(text)
		for i, row := range rows {
			if edit != nil {
				rows[i] = edit(theirs, row)
			}
		}
		return rows
	}
	args = append([]string{"-HO"}, args...)
	for range 200 {
		before := all(true, ss(t, args...))
		ours := all(false, clitest.Output(t, run, args...))
		if after := all(true, ss(t, args...)); !slices.Equal(before, after) {
			continue
		}
		if diff := cmp.Diff(before, ours); diff != "" {
			t.Errorf("%q: ss (-), we (+):\n%s", args, diff)
		}
		return ours
	}
	t.Fatalf("%q: what ss says never holds still", args)
	return nil
}

// The rows are those of ss, whatever selects them.
func TestRowsOfSS(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		scene(t)
		for _, tt := range []struct {
			line string
			min  int // rows, at least
		}{
			{"-tuan", 90}, {"-tuna", 90}, {"-tun", 50}, {"-tuln", 15}, {"-tu -a -l -n", 15}, {"-tulan", 90}, {"-tuan4", 30}, {"-n -t -u -a -6", 60},
			{"-tua", 90}, {"-tul", 15}, {"-tu", 50},
			{"-tun state time-wait state fin-wait-2", 10}, {"-tuln state established state listening", 50}, {"-tun exclude established", 30},
			{"-tun state connected dst 127.0.0.1", 40}, {"-tu state bucket -n", 6}, {"-tun state big", 80},
			{"-tuan sport = :8080", 1}, {"-tuan ( sport = :http-alt or dport = :domain )", 2}, {"-tuan dst [::1]", 20}, {"-tuna src 127.0.0.0/8 and not dport = :53", 50},
		} {
			if got := sameAsSS(t, nil, strings.Fields(tt.line)...); len(got) < tt.min {
				t.Errorf("%s: %d rows, want %d at least", tt.line, len(got), tt.min)
			}
		}
		text := strings.Join(sameAsSS(t, nil, "-tua"), "\n")
		for _, want := range []string{
			"tcp LISTEN 1 9 127.0.0.1:http-alt 0.0.0.0:*", "tcp LISTEN 0 9 *:https *:*", "tcp LISTEN 0 3 [::]%lo:snpp [::]:*",
			"udp UNCONN 0 0 127.0.0.1:domain 0.0.0.0:*", "127.0.0.1:domain", "udp UNCONN 0 0 *:mdns *:*", "[::ffff:127.0.0.1]:",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		// Without -t and -u it is both.
		if diff := cmp.Diff(rows(clitest.Output(t, run, "-tuan")), rows(clitest.Output(t, run, "-an"))); diff != "" {
			t.Errorf("-tuan (-), -an (+):\n%s", diff)
		}
		// A single protocol takes no column.
		for row := range strings.Lines(clitest.Output(t, run, "-Htn")) {
			if strings.HasPrefix(row, "tcp") || !strings.Contains("ESTAB SYN-SENT FIN-WAIT-1 FIN-WAIT-2 CLOSE-WAIT LAST-ACK CLOSING", strings.Fields(row)[0]) {
				t.Errorf("-t: %q", row)
			}
		}
	})
}

var (
	timer  = regexp.MustCompile(`timer:\((\w+),([^,]*),(\d+)\)`)
	tokens = regexp.MustCompile(` (uid:0|uid:65534|cgroup:unreachable:\S+|cgroup:id:\S+)`)
)

// What -o, -e and -m append is what ss appends.
func TestDetailsOfSS(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		scene(t)
		all := strings.Contains(ss(t, "-HtlneO"), "cgroup:/") // it takes privilege to look up where it is
		edit := func(_ bool, row string) string {
			row = timer.ReplaceAllString(row, "timer:($1,$3)")
			if !all {
				row = regexp.MustCompile(` cgroup:\S+`).ReplaceAllString(row, "")
			}
			// ss does not tell root from nobody; we leave out nobody.
			return tokens.ReplaceAllString(row, "")
		}
		for _, line := range []string{"-tuano", "-tuane", "-tuanm", "-tuanoem", "-tunoem state time-wait state fin-wait-2"} {
			got := strings.Join(sameAsSS(t, edit, strings.Fields(line)...), "\n")
			for part, flags := range map[string]string{
				"timer:(timewait,0)": "oe", "timer:(keepalive,0)": "oe", " ino:": "e", " sk:": "e", " <->": "e", " <--": "e", " skmem:(r": "m",
			} {
				if strings.Contains(line, "state") && (part == " <->" || part == " <--") {
					continue
				}
				if want := strings.ContainsAny(strings.Fields(line)[0], flags); want != strings.Contains(got, part) {
					t.Errorf("%s: %q, want that %v:\n%s", line, part, want, got)
				}
			}
		}

		// Who holds it still counts down for both: one that we ask between two of
		// theirs lies between them.
		left := func(text string) map[string]float64 {
			m := map[string]float64{}
			for _, row := range rows(text) {
				if found := timer.FindStringSubmatch(row); found != nil && (found[1] == "timewait" || found[1] == "keepalive") {
					m[strings.Join(strings.Fields(row)[3:5], " ")] = seconds(t, found[2])
				}
			}
			return m
		}
		before := left(ss(t, "-Htano"))
		ours := left(clitest.Output(t, run, "-Htano"))
		after := left(ss(t, "-Htano"))
		if len(ours) < 12 {
			t.Errorf("too few timers: %v", ours)
		}
		for ends, s := range ours {
			if s > before[ends] || s < after[ends] {
				t.Errorf("%s: %v s, ss says %v and then %v", ends, s, before[ends], after[ends])
			}
		}
	})
}

// seconds reads a time of theirs, where 4.200ms are seconds, or of ours.
func seconds(t *testing.T, text string) float64 {
	t.Helper()
	sum := 0.0
	for text != "" {
		i := strings.IndexFunc(text, func(r rune) bool { return r >= 'a' })
		j := i + strings.IndexAny(text[i:]+"0", "0123456789")
		n, err := strconv.ParseFloat(text[:i], 64)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		switch unit := text[i:min(j, len(text))]; {
		case unit == "min":
			n *= 60
		case unit == "ms" && !strings.Contains(text[:i], "."):
			n /= 1000
		}
		sum += n
		text = text[min(j, len(text)):]
	}
	return sum
}

// The holders are those that ss finds.
func TestProcesses(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		scene(t)
		c, _ := nstest.Pair(t, nstest.IPv4)
		dup, err := unix.FcntlInt(uintptr(c), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(dup)
		// In the order of the descriptors, which is not that of ss.
		users := regexp.MustCompile(`users:\(.*\)$`)
		edit := func(_ bool, row string) string {
			return users.ReplaceAllStringFunc(row, func(s string) string {
				each := strings.Split(strings.TrimSuffix(strings.TrimPrefix(s, "users:("), ")"), "),")
				for i, s := range each {
					each[i] = strings.TrimSuffix(s, ")")
				}
				slices.Sort(each)
				return strings.Join(each, " ")
			})
		}
		var got []string
		for range 2 { // what else runs on the machine comes and goes
			got = sameAsSS(t, edit, "-tuanp")
		}
		text := strings.Join(got, "\n")
		if !strings.Contains(text, fmt.Sprintf("pid=%d,fd=%d ", os.Getpid(), min(c, dup))) || strings.Count(text, fmt.Sprintf("pid=%d,", os.Getpid())) < 60 {
			t.Errorf("our own descriptors %d and %d:\n%s", c, dup, text)
		}

		// As JSON.
		type object struct {
			Inode uint32
			Users []struct {
				Name    string
				PID, FD int
			}
		}
		comm, err := os.ReadFile("/proc/self/comm")
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(c, &st); err != nil {
			t.Fatal(err)
		}
		found := false
		for line := range strings.Lines(clitest.Output(t, run, "-tanp", "-json")) {
			var o object
			if err := json.Unmarshal([]byte(line), &o); err != nil || o.Users == nil {
				t.Fatalf("%v: %s", err, line)
			}
			if o.Inode == uint32(st.Ino) {
				found = true
				if len(o.Users) != 2 || o.Users[0].PID != os.Getpid() || o.Users[0].FD != min(c, dup) || o.Users[1].FD != max(c, dup) || o.Users[0].Name != strings.TrimSpace(string(comm)) {
					t.Errorf("users of %d: %+v", o.Inode, o.Users)
				}
			}
		}
		if !found {
			t.Errorf("no socket with inode %d", st.Ino)
		}
	})
}

// What cannot be seen is said, in one line.
func TestProcessesUnseen(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	ns.Do(func() {
		nstest.Pair(t, nstest.IPv4)
		nstest.TimeWait(t, nstest.IPv4, 1)
		cmd := clitest.Command("-tanp")
		clitest.Unprivileged(t, cmd, ns)
		out, errs, status := clitest.Exit(t, cmd)
		if len(rows(out)) != 4 || strings.Contains(out, "users:") || status != 0 {
			t.Errorf("status %d:\n%s", status, out)
		}
		clitest.OneLine(t, errs, "sslite", "of 2 sockets the process was not seen: ")
	})
}

func TestJSON(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		scene(t)
		for flags, attrs := range map[string]sockdiag.Attrs{"-tuan": 0, "-tuanm": sockdiag.AttrSocketMemory, "-tuani": sockdiag.AttrTCPInfo | sockdiag.AttrCongestion} {
			n, with := 0, 0
			for line := range strings.Lines(clitest.Output(t, run, flags, "-json")) {
				var s sockdiag.Socket
				if err := json.Unmarshal([]byte(line), &s); err != nil || s.Cookie == 0 {
					t.Fatalf("%v: %s", err, line)
				}
				n++
				if s.Attrs.Has(attrs) {
					with++
				}
				if extra := (sockdiag.AttrTCPInfo | sockdiag.AttrCongestion | sockdiag.AttrSocketMemory) &^ attrs; s.Attrs&extra != 0 {
					t.Errorf("%s: not asked for: %s", flags, line)
				}
			}
			if want := len(strings.Split(strings.TrimSpace(clitest.Output(t, run, "-H", flags, "-O")), "\n")); n != want || with < 50 {
				t.Errorf("%s: %d objects, %d with what was asked for, want %d", flags, n, with, want)
			}
		}
		if out := clitest.Output(t, run, "-json", "-t", "sport = :1"); out != "" {
			t.Errorf("nothing: %q", out)
		}
	})
}

func TestNetNS(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = errors.Join(netlink.LinkSetDown(lo), netlink.LinkSetName(lo, "inside"), netlink.LinkSetUp(lo))
		}
		if err != nil {
			t.Fatal(err)
		}
		fd := listen(t, "127.0.0.1:8080")
		if err := errors.Join(unix.BindToDevice(fd, "inside"), os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("8000 9000"), 0)); err != nil {
			t.Fatal(err)
		}
		listen(t, "127.0.0.1:443")
	})
	// The device's name and what ports are for the kernel to choose are of that
	// namespace.
	want := []string{"LISTEN 0 9 127.0.0.1%inside:8080 0.0.0.0:*", "LISTEN 0 9 127.0.0.1:https 0.0.0.0:*"}
	if diff := cmp.Diff(want, rows(clitest.Output(t, run, "-Htl", "-netns", clitest.Path(there)))); diff != "" {
		t.Errorf("by a path: %s", diff)
	}
	clitest.InNamedNamespace(t, there, "blue", func() {
		if diff := cmp.Diff(want, rows(clitest.Output(t, run, "-Htl", "-netns", "blue"))); diff != "" {
			t.Errorf("by a name: %s", diff)
		}
		if out := clitest.Output(t, run, "-Htl"); out != "" {
			t.Errorf("without -netns: %q, want the caller's namespace, which is empty", out)
		}
	})
}

// Who reads no more ends the program, without a word.
func TestClosedPipe(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Many(t, nstest.IPv4, 1500, 0)
		for _, args := range [][]string{{"-tn"}, {"-tn", "-json"}} {
			cmd := clitest.Command(args...)
			out, errs := clitest.Start(t, cmd)
			if _, err := bufio.NewReaderSize(out, 16).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			_ = out.Close()
			err := cmd.Wait()
			// As other programs end by it: the shell makes 141 of it.
			if status, ok := cmd.ProcessState.Sys().(interface{ Signal() os.Signal }); err == nil || ok && status.Signal() != unix.SIGPIPE || errs.Len() > 0 {
				t.Errorf("%q: %v, stderr %q", args, err, errs)
			}
		}

		for _, args := range [][]string{nil, {"-json"}, {"-p"}} {
			clitest.OnFullDisk(t, "sslite", args...)
		}
	})
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args   []string
		status int
		words  []string
	}{
		{[]string{"-netns", "no-such-name"}, 1, []string{`no network namespace "no-such-name"`}},
		{[]string{"-netns", os.DevNull}, 1, []string{os.DevNull, "not a network namespace"}},
		{[]string{"-netns", ""}, 2, []string{"-netns: no name given", "sslite -h"}},
		{[]string{"-tq"}, 2, []string{"-q", "sslite -h"}},
		{[]string{"-x"}, 2, []string{"-x"}},
		{[]string{"-t", "bogus"}, 2, []string{"column 1", `"bogus"`, "sport"}},
		{[]string{"-t", "state", "time-wait", "sport", "=", ":70000"}, 2, []string{"column 25", `":70000"`}},
		{[]string{"-t", "state", "bogus"}, 2, []string{"column 7", `"bogus"`}},
		{[]string{"-4", "dst", "inet6:[::1]"}, 2, []string{"IPv6 alone"}},
		{[]string{"-t", "dev", "no-such-device"}, 1, []string{"dump TCP", `no device "no-such-device"`}},
		{[]string{"-K"}, 2, []string{"-K", "none"}},
		{[]string{"-Kta"}, 2, []string{"-K", "none"}},
		{[]string{"-K", "state", "all"}, 2, []string{"-K", "none"}},
		{[]string{"-K", "src", "any"}, 2, []string{"-K", "none"}},
	} {
		clitest.Fails(t, "sslite", tt.args, tt.status, tt.words...)
	}
}

func TestHelp(t *testing.T) {
	help := clitest.Help(t, "sslite", 65)
	for _, name := range strings.Fields("t u w S M 4 6 a l n o e m i p K O H json netns") {
		if !strings.Contains(help, "\n  -"+name) {
			t.Errorf("nothing about -%s", name)
		}
	}
	// Flags of one letter may be written together, -h among them.
	if out, errs, status := clitest.Exit(t, clitest.Command("-tanh")); out != help || errs != "" || status != 0 {
		t.Errorf("-tanh: status %d, stderr %q, stdout\n%s", status, errs, out)
	}
}
