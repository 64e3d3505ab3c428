package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// The program serves until it is told to end, and what is wrong with another
// namespace.
func TestServe(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	cookies := func(value string) {
		there.Do(func() { nstest.Set(t, "ipv4/tcp_syncookies", value) })
	}
	f, err := os.Open(clitest.Path(there))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := clitest.Command("-listen", "127.0.0.1:0", "-fail", "warning", "-age", "1ns", "-netns", clitest.Inherited)
	cmd.ExtraFiles = []*os.File{f}
	out, _ := clitest.Start(t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (status int, severity string) {
		t.Helper()
		r, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var body struct{ Severity string }
		_ = json.NewDecoder(r.Body).Decode(&body) // a 404 has none
		return r.StatusCode, body.Severity
	}
	// In a namespace of its own there is always a thing worth knowing.
	if status, severity := get("/healthz"); status != 200 || severity != "info" {
		t.Errorf("%d %q", status, severity)
	}
	cookies("0")
	if status, severity := get("/healthz"); status != 503 || severity != "warning" {
		t.Errorf("without cookies: %d %q", status, severity)
	}
	cookies("1")
	if status, severity := get("/healthz"); status != 200 || severity != "info" {
		t.Errorf("with cookies again: %d %q", status, severity)
	}
	if status, _ := get("/"); status != 404 {
		t.Errorf("elsewhere: %d", status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to end: %v", err)
	}
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args   []string
		status int
		words  []string
	}{
		{[]string{"-fail", "bad"}, 2, []string{"-fail", "bad", "healthz -h"}},
		{[]string{"-fail", "ok"}, 2, []string{"-fail", "ok"}},
		{[]string{"-age", "0s"}, 2, []string{"-age", "0s"}},
		{[]string{"-netns", "no-such-name"}, 1, []string{`no network namespace "no-such-name"`}},
		{[]string{"-listen", "127.0.0.1:99999"}, 1, []string{"99999"}},
	} {
		clitest.Fails(t, "healthz", tt.args, tt.status, tt.words...)
	}
}

func TestHelp(t *testing.T) {
	clitest.Help(t, "healthz", 35, "/healthz", "503", "-listen ADDRESS", "-fail SEVERITY", "-netns")
}
