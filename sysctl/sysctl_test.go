package sysctl_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// with returns a /proc/sys that has one file.
func with(path, text string) fstest.MapFS {
	return fstest.MapFS{path: {Data: []byte(text)}}
}

func TestValues(t *testing.T) {
	tests := []struct {
		key  sysctl.AnyKey
		text string
		want any
	}{
		{sysctl.TCPFinTimeout, "60\n", time.Minute},
		{sysctl.TCPFinTimeout, "60", time.Minute},
		{sysctl.TCPFinTimeout, "\t60 \n", time.Minute},
		{sysctl.TCPFinTimeout, "0\n", time.Duration(0)},
		{sysctl.TCPFinTimeout, "-1\n", -time.Second},
		{sysctl.TCPFinTimeout, "8589934\n", 8589934 * time.Second},
		{sysctl.TCPFinTimeout, "9223372036\n", 9223372036 * time.Second},
		{sysctl.TCPFinTimeout, "-9223372036\n", -9223372036 * time.Second},
		{sysctl.TCPKeepaliveTime, "7200\n", 2 * time.Hour},
		{sysctl.TCPMaxTWBuckets, "131072\n", 131072},
		{sysctl.TCPMaxTWBuckets, "-1\n", -1},
		{sysctl.TCPMaxTWBuckets, "2147483647\n", math.MaxInt32},
		{sysctl.TCPMaxTWBuckets, "-2147483648\n", math.MinInt32},
		{sysctl.TCPMaxSynBacklog, "2048\n", 2048},
		{sysctl.IPLocalPortRange, "32768\t60999\n", sysctl.PortRange{First: 32768, Last: 60999}},
		{sysctl.IPLocalPortRange, "32768 60999\n", sysctl.PortRange{First: 32768, Last: 60999}},
		{sysctl.IPLocalPortRange, " 1024 \t 1024\t\n", sysctl.PortRange{First: 1024, Last: 1024}},
		{sysctl.IPLocalPortRange, "0\t65535\n", sysctl.PortRange{First: 0, Last: 65535}},
		{sysctl.TCPTWReuse, "0\n", sysctl.TWReuseOff},
		{sysctl.TCPTWReuse, "1\n", sysctl.TWReuseOn},
		{sysctl.TCPTWReuse, "2\n", sysctl.TWReuseLoopback},
		{sysctl.TCPTWReuse, "3\n", sysctl.TWReuse(3)},
		{sysctl.TCPTWReuse, "-1\n", sysctl.TWReuse(-1)},
		{sysctl.TCPSyncookies, "1\n", sysctl.SyncookiesOnOverflow},
		{sysctl.TCPSyncookies, "255\n", sysctl.Syncookies(255)},
		{sysctl.TCPTimestamps, "2\n", sysctl.TimestampsNoOffset},
		{sysctl.TCPTimestamps, "300\n", sysctl.Timestamps(300)}, // a plain int before Linux 5.13
		{sysctl.TCPTWRecycle, "0\n", false},
		{sysctl.TCPTWRecycle, "1\n", true},
		{sysctl.TCPTWRecycle, "-5\n", true},
		{sysctl.TCPTWReuseDelay, "1000\n", time.Second},
		{sysctl.TCPRTOMin, "200000\n", 200 * time.Millisecond},
		{sysctl.TCPRTOMin, "1\n", time.Microsecond},
		{sysctl.TCPRTOMax, "120000\n", 2 * time.Minute},
		{sysctl.TCPInvalidRatelimit, "-4\n", -4 * time.Millisecond}, // Linux 7.3 takes them
		{sysctl.NFConntrackTCPTimeoutEstablished, "432000\n", 120 * time.Hour},
		{sysctl.NFConntrackTCPTimeoutTimeWait, "-1\n", -time.Second},
		{sysctl.NFConntrackMax, "262144\n", 262144},
		{sysctl.TCPRFC1337, "255\n", true},
		{sysctl.TCPSlowStartAfterIdle, "0\n", false},
		{sysctl.IPUnprivilegedPortStart, "0\n", uint16(0)},
		{sysctl.IPUnprivilegedPortStart, "65535\n", uint16(65535)},
		{sysctl.TCPEhashEntries, "262144\n", sysctl.HashTable{Buckets: 262144}},
		{sysctl.TCPEhashEntries, "-262144\n", sysctl.HashTable{Buckets: 262144, Shared: true}},
		{sysctl.TCPEhashEntries, "-2147483647\n", sysctl.HashTable{Buckets: math.MaxInt32, Shared: true}},
		{sysctl.TCPMem, "287901\t383868\t575802\n", sysctl.PageTriple{Low: 287901, Pressure: 383868, High: 575802}},
		{sysctl.TCPMem, "3\t2\t1\n", sysctl.PageTriple{Low: 3, Pressure: 2, High: 1}}, // any order is taken
		{sysctl.TCPMem, "18446744073709551615\t0\t1\n", sysctl.PageTriple{Low: math.MaxUint64, High: 1}},
		{sysctl.TCPRmem, "4096\t131072\t33554432\n", sysctl.ByteTriple{Min: 4096, Default: 131072, Max: 32 << 20}},
		{sysctl.TCPWmem, "1 1 2147483647\n", sysctl.ByteTriple{Min: 1, Default: 1, Max: math.MaxInt32}},
		{sysctl.TCPRmem, "1 1 17179869184\n", sysctl.ByteTriple{Min: 1, Default: 1, Max: 16 << 30}},
		{sysctl.TCPCongestionControl, "cubic\n", "cubic"},
		{sysctl.TCPECN, "2\n", sysctl.ECNPassive},
		{sysctl.TCPECN, "5\n", sysctl.ECNAccuratePassive},
		{sysctl.TCPFastOpen, "1027\n", sysctl.FastOpenClient | sysctl.FastOpenServer | sysctl.FastOpenServerAll},
		{sysctl.TCPFastOpen, "-1\n", sysctl.FastOpen(-1)},
		{sysctl.TCPChallengeACKLimit, "2147483647\n", math.MaxInt32},
		{sysctl.IPLocalReservedPorts, "\n", sysctl.Ports(nil)},
		{sysctl.IPLocalReservedPorts, "", sysctl.Ports(nil)},
		{sysctl.IPLocalReservedPorts, "0\n", sysctl.Ports(nil)}, // no port, though the kernel lets it be reserved
		{sysctl.IPLocalReservedPorts, "0-5\n", sysctl.Ports{{First: 1, Last: 5}}},
		{sysctl.IPLocalReservedPorts, "1-3,5\n", sysctl.Ports{{First: 1, Last: 3}, {First: 5, Last: 5}}},
		{sysctl.IPLocalReservedPorts, "8080,9000-9010,65535\n", sysctl.Ports{{First: 8080, Last: 8080}, {First: 9000, Last: 9010}, {First: 65535, Last: 65535}}},
	}
	for _, tt := range tests {
		info := tt.key.Info()
		got, err := tt.key.GetAnyFS(with(info.Path, tt.text))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s with %q = %#v, %v, want %#v", info.Name, tt.text, got, err, tt.want)
		}
	}
}

func TestBadValues(t *testing.T) {
	tests := []struct {
		key   sysctl.AnyKey
		text  string
		cause error // nil: any
	}{
		{sysctl.TCPFinTimeout, "", nil},
		{sysctl.TCPFinTimeout, "\n", nil},
		{sysctl.TCPFinTimeout, "60\n\n", strconv.ErrSyntax},
		{sysctl.TCPFinTimeout, "60 60\n", nil},
		{sysctl.TCPFinTimeout, "60s\n", strconv.ErrSyntax},
		{sysctl.TCPFinTimeout, "6_0\n", strconv.ErrSyntax},
		{sysctl.TCPFinTimeout, "0x3c\n", strconv.ErrSyntax},
		{sysctl.TCPFinTimeout, "60\x00", strconv.ErrSyntax},
		{sysctl.TCPFinTimeout, "9223372037\n", strconv.ErrRange}, // seconds that a Duration cannot hold
		{sysctl.TCPFinTimeout, "-9223372037\n", strconv.ErrRange},
		{sysctl.TCPFinTimeout, "9223372036854775808\n", strconv.ErrRange},
		{sysctl.TCPMaxTWBuckets, "2147483648\n", strconv.ErrRange}, // the kernel's int has 32 bits on every platform
		{sysctl.TCPMaxTWBuckets, "unlimited\n", strconv.ErrSyntax},
		{sysctl.TCPTWReuse, "on\n", strconv.ErrSyntax},
		{sysctl.TCPTWReuse, "99999999999\n", strconv.ErrRange},
		{sysctl.TCPTWRecycle, "yes\n", strconv.ErrSyntax},
		{sysctl.IPLocalPortRange, "", nil},
		{sysctl.IPLocalPortRange, "32768\n", nil},
		{sysctl.IPLocalPortRange, "32768\t60999\t1\n", nil},
		{sysctl.IPLocalPortRange, "32768\n60999\n", nil},
		{sysctl.IPLocalPortRange, "32768-60999\n", nil},
		{sysctl.IPLocalPortRange, "60999\t32768\n", nil},
		{sysctl.IPLocalPortRange, "32768\t65536\n", strconv.ErrRange},
		{sysctl.IPLocalPortRange, "-1\t60999\n", strconv.ErrSyntax},
		{sysctl.IPLocalPortRange, "x\t60999\n", strconv.ErrSyntax},
		{sysctl.IPUnprivilegedPortStart, "65536\n", strconv.ErrRange},
		{sysctl.IPUnprivilegedPortStart, "-1\n", strconv.ErrSyntax},
		{sysctl.TCPRTOMin, "9223372036854776\n", strconv.ErrRange},  // microseconds that a Duration cannot hold
		{sysctl.TCPEhashEntries, "-2147483648\n", strconv.ErrRange}, // has no positive on 32 bits
		{sysctl.TCPMem, "-1\t1\t1\n", strconv.ErrSyntax},
		{sysctl.TCPMem, "1\t1\t18446744073709551616\n", strconv.ErrRange},
		{sysctl.TCPMem, "1\t1\n", nil},
		{sysctl.TCPRmem, "1\t1\t1\t1\n", nil},
		{sysctl.TCPRmem, "1\t1\tx\n", strconv.ErrSyntax},
		{sysctl.TCPCongestionControl, "\n", nil},
		{sysctl.TCPCongestionControl, "cubic reno\n", nil},
		{sysctl.IPLocalReservedPorts, "8080,\n", strconv.ErrSyntax},
		{sysctl.IPLocalReservedPorts, "8080, 8081\n", strconv.ErrSyntax},
		{sysctl.IPLocalReservedPorts, "8081,8080\n", nil},
		{sysctl.IPLocalReservedPorts, "8080,8080\n", nil},
		{sysctl.IPLocalReservedPorts, "8080-8090,8085\n", nil},
		{sysctl.IPLocalReservedPorts, "9-8\n", nil},
		{sysctl.IPLocalReservedPorts, "1-2-3\n", strconv.ErrSyntax},
		{sysctl.IPLocalReservedPorts, "65536\n", strconv.ErrRange},
		{sysctl.IPLocalReservedPorts, "\n\n", strconv.ErrSyntax},
	}
	for _, tt := range tests {
		info := tt.key.Info()
		got, err := tt.key.GetAnyFS(with(info.Path, tt.text))
		var perr *sysctl.ParseError
		switch {
		case !errors.As(err, &perr):
			t.Errorf("%s with %q = %v, %v, want a *ParseError", info.Name, tt.text, got, err)
		case perr.Key != info.Name || perr.Text != tt.text:
			t.Errorf("%s with %q: the error is about %q in %q", info.Name, tt.text, perr.Text, perr.Key)
		case tt.cause != nil && !errors.Is(err, tt.cause):
			t.Errorf("%s with %q: error %v, want one that is %q", info.Name, tt.text, err, tt.cause)
		case got != nil:
			t.Errorf("%s with %q: value %v beside an error", info.Name, tt.text, got)
		case !strings.Contains(err.Error(), info.Name):
			t.Errorf("%s with %q: the message %q does not name the key", info.Name, tt.text, err)
		}
	}

	// A long text is in the error, but not in its message.
	text := strings.Repeat("7", 3000)
	_, err := sysctl.TCPMaxTWBuckets.GetFS(with("net/ipv4/tcp_max_tw_buckets", text))
	var perr *sysctl.ParseError
	if !errors.As(err, &perr) || perr.Text != text || len(err.Error()) > 200 {
		t.Errorf("the error for 3000 digits: Text of %d bytes, message %.300q", len(perr.Text), err)
	}
}

func TestMissingKey(t *testing.T) {
	proc := fstest.MapFS{"net/ipv4/other": {Data: []byte("1\n")}}
	for key := range sysctl.Keys() {
		info := key.Info()
		got, err := key.GetAnyFS(proc)
		if got != nil || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, sysctl.ErrNoProcSys) {
			t.Errorf("%s, which the kernel lacks: %v, %v, want fs.ErrNotExist alone", info.Name, got, err)
			continue
		}
		release := info.Since
		if info.Removed != "" {
			release = info.Removed
		}
		if msg := err.Error(); !strings.Contains(msg, info.Name) || !strings.Contains(msg, "Linux "+release) {
			t.Errorf("%s: the message %q should name the key and Linux %s", info.Name, msg, release)
		}
	}
}

func TestNoProcSys(t *testing.T) {
	for name, proc := range map[string]fs.FS{
		"empty":       fstest.MapFS{},
		"without net": fstest.MapFS{"kernel/ostype": {Data: []byte("Linux\n")}},
	} {
		for key := range sysctl.Keys() {
			got, err := key.GetAnyFS(proc)
			if got != nil || !errors.Is(err, sysctl.ErrNoProcSys) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: %v, %v, want ErrNoProcSys alone", name, key.Info().Name, got, err)
			}
		}
	}
}

// denyFS refuses to open anything.
type denyFS struct{ err error }

func (d denyFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: d.err}
}

func TestOtherErrors(t *testing.T) {
	if _, err := sysctl.TCPFinTimeout.GetFS(denyFS{fs.ErrPermission}); !errors.Is(err, fs.ErrPermission) ||
		!strings.Contains(err.Error(), "net.ipv4.tcp_fin_timeout") {
		t.Errorf("a file that may not be read: %v, want fs.ErrPermission and the name of the key", err)
	}
	if _, err := sysctl.TCPFinTimeout.GetFS(nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a nil file system: %v, want fs.ErrInvalid", err)
	}
	if _, err := sysctl.TCPFinTimeout.GetFS(fstest.MapFS{"net/ipv4/tcp_fin_timeout/x": {}}); err == nil {
		t.Error("a directory in place of the file is not an error")
	}
	if runtime.GOOS != "linux" {
		if _, err := sysctl.TCPFinTimeout.Get(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Get on %s: %v, want errors.ErrUnsupported", runtime.GOOS, err)
		}
	}
}

func TestZeroKey(t *testing.T) {
	var key sysctl.Key[time.Duration]
	if _, err := key.Get(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Get: %v, want fs.ErrInvalid", err)
	}
	if _, err := key.GetFS(with("net/ipv4/tcp_fin_timeout", "60\n")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("GetFS: %v, want fs.ErrInvalid", err)
	}
	if got, err := key.GetAny(); got != nil || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("GetAny: %v, %v, want fs.ErrInvalid", got, err)
	}
	if got, err := key.GetAnyFS(nil); got != nil || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("GetAnyFS: %v, %v, want fs.ErrInvalid", got, err)
	}
	if info := key.Info(); info != (sysctl.Info{}) {
		t.Errorf("Info: %v, want the zero Info", info)
	}
	if got, known := key.DefaultFS(nil); got != 0 || known {
		t.Errorf("DefaultFS: %v, %v, want none", got, known)
	}
	if trap, ok := key.TrapFS(0, nil); trap != (sysctl.Trap{}) || ok {
		t.Errorf("TrapFS: %v, %v, want none", trap, ok)
	}
}

// oneReadFS answers like /proc/sys: the text comes with the first read, as far as the buffer goes, and what did not fit
// is gone.
type oneReadFS struct{ fs.FS }

func (o oneReadFS) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	return &oneReadFile{File: f}, err
}

type oneReadFile struct {
	fs.File
	done bool
}

func (f *oneReadFile) Read(b []byte) (int, error) {
	if f.done {
		return 0, io.EOF
	}
	f.done = true
	n, err := io.ReadFull(f.File, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

func TestLongFiles(t *testing.T) {
	for _, size := range []int{0, 510, 600, 4093, 4094, 4095, 70_000, 900_000} {
		text := strings.Repeat(" ", size) + "61\n"
		for name, proc := range map[string]fs.FS{
			"one read":     oneReadFS{with("net/ipv4/tcp_fin_timeout", text)},
			"several read": with("net/ipv4/tcp_fin_timeout", text),
		} {
			if got, err := sysctl.TCPFinTimeout.GetFS(proc); err != nil || got != 61*time.Second {
				t.Errorf("%s: 61 after %d spaces = %v, %.200v", name, size, got, err)
			}
		}
	}
	_, err := sysctl.TCPFinTimeout.GetFS(with("net/ipv4/tcp_fin_timeout", strings.Repeat(" ", 20<<20)+"61\n"))
	var perr *sysctl.ParseError
	if err == nil || errors.As(err, &perr) {
		t.Errorf("a file of 20 MB: %.200v, want an error that it is too long", err)
	}
}

func TestInfo(t *testing.T) {
	release := regexp.MustCompile(`^[2-9]\.\d+(\.\d+)?$`)
	var names []string
	for key := range sysctl.Keys() {
		info := key.Info()
		names = append(names, info.Name)
		if want := "net/"; !strings.HasPrefix(info.Path, want) || !fs.ValidPath(info.Path) ||
			strings.ReplaceAll(info.Path, "/", ".") != info.Name {
			t.Errorf("%s has the path %q", info.Name, info.Path)
		}
		for field, text := range map[string]string{
			"Summary": info.Summary, "Doc": info.Doc, "Unit": info.Unit, "Default": info.Default, "Range": info.Range, "Risk": info.Risk,
		} {
			if text == "" || text != strings.Join(strings.Fields(text), " ") {
				t.Errorf("%s: %s is %q", info.Name, field, text)
			}
		}
		if !strings.HasSuffix(info.Doc, ".") || !strings.HasSuffix(info.Risk, ".") {
			t.Errorf("%s: Doc and Risk should be sentences", info.Name)
		}
		if len(info.Summary) > 60 || strings.HasSuffix(info.Summary, ".") || info.Summary != strings.TrimSpace(info.Summary) {
			t.Errorf("%s: Summary %q of %d bytes should be a short phrase", info.Name, info.Summary, len(info.Summary))
		}
		if !release.MatchString(info.Since) || info.Removed != "" && !release.MatchString(info.Removed) {
			t.Errorf("%s: since %q, removed %q", info.Name, info.Since, info.Removed)
		}
		if info.Scope != sysctl.Namespace && info.Scope != sysctl.Host {
			t.Errorf("%s: scope %v", info.Name, info.Scope)
		}
		for _, name := range []string{info.Name, info.Path, "/proc/sys/" + info.Path} {
			if found, ok := sysctl.Lookup(name); !ok || found != key {
				t.Errorf("Lookup(%q) = %v, %v", name, found, ok)
			}
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("Keys() yields %q, want names in order and each once", names)
	}
	for range sysctl.Keys() {
		break // must not go on
	}
	for _, name := range []string{
		"", "/", "/proc/sys/", "net", "tcp_fin_timeout", "net.ipv4", "net.ipv4.tcp_no_such_thing", "net.ipv4.tcp_fin_timeout ",
		"NET.IPV4.TCP_FIN_TIMEOUT", "/net/ipv4/tcp_fin_timeout", "net.ipv4/tcp_fin_timeout",
	} {
		if found, ok := sysctl.Lookup(name); ok || found != nil {
			t.Errorf("Lookup(%q) = %v, %v, want none", name, found, ok)
		}
	}
}

// Every exported variable made by newKey must be among Keys: the list is written by hand.
func TestKeysIsComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source to look at: %v", err)
	}
	declared := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !spec.Names[0].IsExported() {
				return true
			}
			if call, ok := spec.Values[0].(*ast.CallExpr); ok {
				fun := call.Fun
				if index, ok := fun.(*ast.IndexExpr); ok { // newKey[T]
					fun = index.X
				}
				if fn, ok := fun.(*ast.Ident); ok && fn.Name == "newKey" {
					declared++
				}
			}
			return true
		})
	}
	listed := 0
	for range sysctl.Keys() {
		listed++
	}
	if declared == 0 || declared != listed {
		t.Errorf("%d keys are declared, Keys() yields %d", declared, listed)
	}
}
