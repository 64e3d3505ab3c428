package main

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/seed16c515c6/timewait/internal/kernels/plan"
)

var unmarked = strings.NewReplacer(string(frame), "", string(plan.Mark), "")

// lockedWriter is for several kernels at once.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// prefixWriter writes whole lines, each with a prefix and without the marks that
// are not for people.
type prefixWriter struct {
	w      io.Writer
	prefix string
	line   []byte
}

func (p *prefixWriter) Write(b []byte) (int, error) {
	p.line = append(p.line, b...)
	for {
		line, rest, ok := bytes.Cut(p.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if _, err := io.WriteString(p.w, p.prefix+unmarked.Replace(string(line))+"\n"); err != nil {
			return 0, err
		}
		p.line = rest
	}
}
