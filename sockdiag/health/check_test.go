package health_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/seed16c515c6/timewait/sockdiag/health"
)

// checkFindings checks what holds for every Finding: it is complete, in order, and
// never advises what does harm.
func checkFindings(t *testing.T, all []health.Finding) {
	t.Helper()
	for i, f := range all {
		if f.ID == "" || f.Severity < health.Info || f.Severity > health.Critical || f.Why == "" || len(f.Evidence) == 0 || len(f.Remedies) == 0 {
			t.Errorf("not complete: %+v", f)
		}
		if i > 0 && f.Severity > all[i-1].Severity {
			t.Errorf("%s after %s, which is less severe", f.ID, all[i-1].ID)
		}
		if f.Summary == "" || len(f.Summary) > 400 || strings.ContainsFunc(f.Summary, unicode.IsControl) {
			t.Errorf("%s: %q", f.ID, f.Summary)
		}
		for _, r := range f.Remedies {
			set, undo := assignment(t, r.Set), assignment(t, r.Undo)
			if r.Do == "" || set[0] != undo[0] || set[0] != "" && set[1] == undo[1] {
				t.Errorf("%s: %+v", f.ID, r)
			}
			if set[0] == "net.ipv4.tcp_tw_recycle" && set[1] != "0" {
				t.Errorf("%s turns on tcp_tw_recycle", f.ID)
			}
			if set[0] == "net.ipv4.tcp_max_tw_buckets" && !strings.HasPrefix(undo[1], "-") && len(set[1]) < len(undo[1]) {
				t.Errorf("%s lowers tcp_max_tw_buckets: %+v", f.ID, r)
			}
		}
	}
}

// assignment is the name and value of "sysctl -w name=value".
func assignment(t *testing.T, command string) [2]string {
	t.Helper()
	if command == "" {
		return [2]string{}
	}
	text, ok := strings.CutPrefix(command, "sysctl -w ")
	name, value, ok2 := strings.Cut(text, "=")
	value = strings.Trim(value, "'")
	if !ok || !ok2 || name == "" || value == "" {
		t.Errorf("no command: %q", command)
	}
	return [2]string{name, value}
}

// want returns the Finding, which must be there with that severity and these words
// in its summary; without a severity it must not be there.
func want(t *testing.T, all []health.Finding, id string, severity health.Severity, words ...string) (found health.Finding) {
	t.Helper()
	n := 0
	for _, f := range all {
		if f.ID == id {
			if n == 0 {
				found = f
			}
			n++
		}
	}
	switch {
	case severity == health.OK && n > 0:
		t.Errorf("%s is there: %+v", id, found)
	case severity != health.OK && n == 0:
		t.Errorf("no %s; there is %s", id, ids(all))
	case severity != found.Severity:
		t.Errorf("%s is %v, want %v: %s", id, found.Severity, severity, found.Summary)
	}
	for _, word := range words {
		if !strings.Contains(found.Summary, word) {
			t.Errorf("%s: no %q in %q", id, word, found.Summary)
		}
	}
	return found
}

// shows checks a value of the Evidence.
func shows(t *testing.T, f health.Finding, name string, value any) {
	t.Helper()
	for _, e := range f.Evidence {
		if e.Name == name {
			if e.Value != fmt.Sprint(value) {
				t.Errorf("%s: %s is %q, want %v", f.ID, name, e.Value, value)
			}
			return
		}
	}
	t.Errorf("%s: no %q in %+v", f.ID, name, f.Evidence)
}

func ids(all []health.Finding) string {
	var s []string
	for _, f := range all {
		s = append(s, f.ID)
	}
	return strings.Join(s, " ")
}

func evidenceOf(f health.Finding, name string) string {
	for _, e := range f.Evidence {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}
