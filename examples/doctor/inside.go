package main

import (
	"os"
	"strings"

	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/sysctl"
)

// enter is what a shell puts before a command to run it in the namespace that -netns
// names; nothing for one's own.
func enter(name string) string {
	switch {
	case name == "":
		return ""
	case strings.Contains(name, "/"):
		return "nsenter --net=" + quote(name) + " "
	}
	if _, err := os.Stat("/run/netns/" + name); err != nil { // a PID
		return "nsenter --net --target " + name + " "
	}
	return "ip netns exec " + quote(name) + " "
}

// quote is a word for a shell.
func quote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-:@%+=,0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// inside has the commands of the remedies run in another namespace, where the
// trouble is: copied as they are they would change this one. What is one setting for
// the host stays.
func inside(before string, findings []health.Finding) {
	for _, f := range findings {
		for i := range f.Remedies {
			r := &f.Remedies[i]
			name, _, _ := strings.Cut(strings.TrimPrefix(r.Set, "sysctl -w "), "=")
			if key, known := sysctl.Lookup(name); r.Set == "" || known && key.Info().Scope == sysctl.Host {
				continue
			}
			r.Set, r.Undo = before+r.Set, before+r.Undo
		}
	}
}
