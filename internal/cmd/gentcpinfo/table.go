package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// member is one row of the table.
type member struct {
	off, size int    // bytes
	bit, bits int    // of a bit-field; bits is zero for others
	name      string // the kernel's, without "tcpi_"
	goName    string // empty: a part of another row
	kind      string
	since     release // zero: always
	until     release // the last release that had it; zero: still there
	atLeast   int     // bytes the struct had from since on, where off+size does not tell
	doc       string
}

// need is the length from which a tcp_info has the member.
func (m member) need() int { return max(m.off+m.size, m.atLeast) }

// inKernel reports whether the kernel of that release has the member.
func (m member) inKernel(r release) bool {
	return !r.before(m.since) && (m.until == release{} || !m.until.before(r))
}

type release struct{ major, minor int }

func (r release) before(o release) bool {
	return r.major < o.major || r.major == o.major && r.minor < o.minor
}

func parseRelease(s string) (release, error) {
	major, minor, ok := strings.Cut(s, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if !ok || err1 != nil || err2 != nil {
		return release{}, fmt.Errorf("release %q is not of the form 4.9", s)
	}
	return release{a, b}, nil
}

// parseTable reads tcp_info.txt, and checks that the members of the struct follow
// on each other without holes.
func parseTable(text string) ([]member, error) {
	var members []member
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] == '\t':
			if len(members) == 0 {
				return nil, fmt.Errorf("line %d: documentation of nothing", i+1)
			}
			m := &members[len(members)-1]
			m.doc = strings.TrimSpace(m.doc + " " + strings.TrimSpace(line))
		default:
			m, err := parseMember(strings.Fields(line))
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			members = append(members, m)
		}
	}
	return members, check(members)
}

func parseMember(cols []string) (m member, err error) {
	if len(cols) != 7 {
		return m, fmt.Errorf("%d columns, want 7", len(cols))
	}
	m = member{name: cols[3], goName: cols[4], kind: cols[5]}
	if m.off, err = strconv.Atoi(cols[0]); err != nil {
		return m, err
	}
	if m.size, err = strconv.Atoi(cols[1]); err != nil {
		return m, err
	}
	if cols[2] != "-" {
		if _, err = fmt.Sscanf(cols[2], "%d:%d", &m.bit, &m.bits); err != nil {
			return m, fmt.Errorf("bits %q: %w", cols[2], err)
		}
	}
	if m.goName == "." {
		m.goName = ""
	}
	since, atLeast, ok := strings.Cut(cols[6], "=")
	if ok {
		if m.atLeast, err = strconv.Atoi(atLeast); err != nil {
			return m, err
		}
	}
	since, until, _ := strings.Cut(since, "-")
	if since != "" {
		if m.since, err = parseRelease(since); err != nil {
			return m, err
		}
	}
	if until != "" {
		m.until, err = parseRelease(until)
	}
	return m, err
}

func check(members []member) error {
	if len(members) == 0 {
		return errors.New("no members")
	}
	end, bit := 0, 0 // of the member before
	for _, m := range members {
		_, known := kinds[m.kind]
		switch {
		case m.kind == "part":
			if m.goName != "" || m.off < 276 || m.off+m.size > end {
				return fmt.Errorf("%s: not a part of the member before", m.name)
			}
			continue
		case !known || m.goName == "" || m.doc == "":
			return fmt.Errorf("%s: no kind, Go name or documentation", m.name)
		case m.off%m.size != 0:
			// TCPInfo.decode relies on this: no member crosses a multiple of 8.
			return fmt.Errorf("%s: not aligned to its size", m.name)
		case m.bits != 0 && m.bit+m.bits > 8*m.size:
			return fmt.Errorf("%s: bits outside of the unit", m.name)
		case m.bit != 0 && (m.off+m.size != end || m.bit != bit):
			return fmt.Errorf("%s: does not follow the bit-field before", m.name)
		case m.bit == 0 && m.off != end:
			return fmt.Errorf("%s: at %d, but the member before ends at %d", m.name, m.off, end)
		}
		end, bit = m.off+m.size, m.bit+m.bits
	}
	return nil
}
