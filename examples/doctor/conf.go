package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/sysctl"
)

// recycleConf looks for lines of sysctl.conf(5) that set net.ipv4.tcp_tw_recycle,
// which kernels have not had since 4.12: old advice that does nothing. root is /.
// Package health looks at the kernel alone, not at what it will be told at boot.
func recycleConf(root fs.FS) (found []health.Finding) {
	var lines []string
	var seen []fs.FileInfo // /etc/sysctl.d/99-sysctl.conf mostly is /etc/sysctl.conf
	for _, pattern := range []string{"etc/sysctl.conf", "etc/sysctl.d/*.conf", "run/sysctl.d/*.conf", "usr/local/lib/sysctl.d/*.conf", "usr/lib/sysctl.d/*.conf"} {
		names, _ := fs.Glob(root, pattern) // the patterns are good
		for _, name := range names {
			info, err := fs.Stat(root, name)
			if err != nil || !info.Mode().IsRegular() || slices.ContainsFunc(seen, func(other fs.FileInfo) bool { return os.SameFile(other, info) }) {
				continue
			}
			seen = append(seen, info)
			lines = append(lines, recycleLines(root, name)...)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	where := strings.Join(lines, ", ")
	return []health.Finding{{
		ID: health.Recycle, Severity: health.Info,
		Summary:  "net.ipv4.tcp_tw_recycle is set in " + where + ", and this kernel has no such setting",
		Evidence: []health.Evidence{{Name: "net.ipv4.tcp_tw_recycle", Value: where}},
		Why:      "Linux 4.12 did away with it, so it does nothing here, but that sysctl -p complains. On older kernels it keeps out clients that share an address.",
		Remedies: []health.Remedy{{Do: "Delete the line. Settings beside it may be of the same age: the example sysctls tells what each does today."}},
	}}
}

// recycleLines returns where in a file it is set, as file:line. A file that cannot be
// read has none.
func recycleLines(root fs.FS, name string) (lines []string) {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	text := bufio.NewScanner(f)
	for n := 1; text.Scan(); n++ {
		key, _, ok := strings.Cut(text.Text(), "=")
		key = strings.TrimPrefix(strings.TrimSpace(key), "-") // - is for: no matter if it fails
		if ok && strings.ReplaceAll(strings.TrimSpace(key), "/", ".") == sysctl.TCPTWRecycle.Info().Name {
			lines = append(lines, fmt.Sprintf("/%s:%d", name, n))
		}
	}
	return lines
}
