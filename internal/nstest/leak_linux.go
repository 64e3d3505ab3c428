package nstest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// openFiles lists the process's descriptors and what each is, as in "socket:[1234]".
func openFiles() map[int]string {
	files := make(map[int]string)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The descriptor that read the folder is gone by now, and fails.
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[fd] = what
		}
	}
	return files
}

// leakedFiles lists the descriptors that are open but were not before. What a goroutine is about to close is given
// two seconds.
func leakedFiles(before map[int]string) []string {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		leaked := newFiles(before, openFiles())
		if len(leaked) == 0 || time.Now().After(deadline) {
			return leaked
		}
	}
}

func newFiles(before, after map[int]string) []string {
	// The runtime's network poller opens one of each at its first use, and keeps them.
	poller := map[string]bool{"anon_inode:[eventpoll]": true, "anon_inode:[eventfd]": true}
	for _, what := range before {
		delete(poller, what)
	}
	var extra []string
	for fd, what := range after {
		switch {
		case before[fd] == what:
		case poller[what]:
			delete(poller, what)
		default:
			// "socket:[123]" says little; the kind and number are all the kernel tells.
			extra = append(extra, fmt.Sprintf("%d is %s", fd, strings.TrimSuffix(what, " (deleted)")))
		}
	}
	slices.Sort(extra)
	return extra
}
