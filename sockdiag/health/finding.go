package health

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Severity is how bad a Finding is.
type Severity uint8

// The severities.
const (
	OK       Severity = iota // nothing is wrong: of a Report without Findings
	Info                     // worth knowing; nothing fails because of it
	Warning                  // something does not work as it should, or soon will not
	Critical                 // connections fail or are cut off, or are about to
)

var severities = [...]string{"ok", "info", "warning", "critical"}

// String returns "ok", "info", "warning", "critical", or "Severity(42)".
func (s Severity) String() string {
	if int(s) < len(severities) {
		return severities[s]
	}
	return "Severity(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText implements encoding.TextMarshaler: what String returns.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes what String returns,
// in any case.
func (s *Severity) UnmarshalText(b []byte) error {
	text := strings.ToLower(string(b))
	if i := slices.Index(severities[:], text); i >= 0 {
		*s = Severity(i)
		return nil
	}
	if digits, ok := strings.CutPrefix(text, "severity("); ok && strings.HasSuffix(digits, ")") {
		if n, err := strconv.ParseUint(digits[:len(digits)-1], 10, 8); err == nil {
			*s = Severity(n)
			return nil
		}
	}
	return fmt.Errorf("health: no severity: %q", b)
}

// Finding is something about the connections of a namespace that somebody should
// know. ID, Severity and the names of the Evidence are for programs; the other
// texts are for people, and may change.
type Finding struct {
	ID       string     `json:"id"`                 // one of the constants
	Severity Severity   `json:"severity"`           // how bad it is
	Summary  string     `json:"summary"`            // one line, with the numbers that matter
	Evidence []Evidence `json:"evidence"`           // the numbers that it rests on
	Why      string     `json:"why"`                // how it comes about
	Remedies []Remedy   `json:"remedies,omitempty"` // what helps, the best first
}

// Evidence is a number that a Finding rests on.
type Evidence struct {
	Name  string `json:"name"`  // what it is, or a counter's or setting's name
	Value string `json:"value"` // with its unit
}

// Remedy is something that can be done about a Finding.
type Remedy struct {
	Do    string `json:"do"`              // what, in a sentence
	Set   string `json:"set,omitempty"`   // the command, if one does it; it lasts until the next boot
	Undo  string `json:"undo,omitempty"`  // the command that brings back what was
	Linux string `json:"linux,omitempty"` // the release that it takes, if not every supported one has it: "6.14"
}

// The longest lists that a finding has.
const (
	maxFindings = 5 // of one kind
	maxNames    = 5 // processes, ports or addresses in one line
)

// Diagnose says what is wrong, the worst first. It asks nobody: its results depend
// on its arguments alone.
//
// before is an earlier Snapshot of the same namespace, by ten seconds or so; it
// tells what grows, which counters move, and so most of what happens rather than
// is. It may be nil. What a Snapshot does not have, because this kernel or this
// namespace does not, nothing is said about. A nil now has no Findings.
func Diagnose(before, now *Snapshot, t Thresholds) []Finding {
	if now == nil {
		return nil
	}
	l := &look{now: now, t: t.orDefaults()}
	if before != nil {
		if dt := now.Time.Sub(before.Time); dt > 0 {
			l.before, l.dt = before, dt
		}
	}
	var all []Finding
	for _, rule := range rules {
		found := rule(l)
		all = append(all, found[:min(len(found), maxFindings)]...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return all
}

// rules are all there are. Each returns its findings, the worst first.
var rules = [...]func(*look) []Finding{
	portExhaustion, closingRate, reuseOff, reuseIneffective,
	bucketOverflow, acceptOverflow, halfOpenMismatch, synBacklog, synFlood, synSentStuck,
	closeWaitLeak, finWait2Pileup, lastAckStuck, finWait1Stuck, abortiveClose,
	orphanPressure, tcpMemory, conntrackPressure,
	pawsSyn, rfc1337, pawsEstablished,
	finTimeoutTrap, capLowered, syncookiesOff, timestampsOff, recycle,
	boundHog, rangeSmall, rangeParity, rangeOverlap, otherTraps,
	serverCloses, noKeepalive, manyTimeWait, scope, blindSpots,
}

// look is what a rule looks at.
type look struct {
	before *Snapshot // nil: not known
	now    *Snapshot
	dt     time.Duration // between them; 0 without before
	t      Thresholds
}

// delta returns by how much counters have grown together since before. It is not
// ok without before, and where the kernel has none of them. One that went back,
// as it does in a namespace of the same name that is new, counts from zero.
func (l *look) delta(names ...string) (n int64, ok bool) {
	if l.before == nil {
		return 0, false
	}
	for _, name := range names {
		now, have := l.now.Counter(name)
		if !have {
			continue
		}
		was := l.before.Counters[name]
		if now < was {
			was = 0
		}
		n, ok = n+now-was, true
	}
	return n, ok
}

// perSecond is a number that grew by n since before.
func (l *look) perSecond(n int64) float64 {
	if l.dt <= 0 {
		return 0
	}
	return float64(n) / l.dt.Seconds()
}

func (l *look) during() string { return " in " + seconds(l.dt) }

// counted is a number of things: "1 connection", "2 connections".
func counted[T int | int64 | uint64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// evidence makes a list of names and values.
func evidence(pairs ...any) []Evidence {
	list := make([]Evidence, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, Evidence{fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])})
	}
	return list
}

// counterEvidence is how much a counter moved, or without an earlier Snapshot how
// far it is.
func (l *look) counterEvidence(list []Evidence, names ...string) []Evidence {
	for _, name := range names {
		n, ok := l.delta(name)
		if ok {
			list = append(list, Evidence{name, fmt.Sprintf("+%d%s", n, l.during())})
		} else if n, ok := l.now.Counter(name); ok {
			list = append(list, Evidence{name, fmt.Sprintf("%d since the namespace was made", n)})
		}
	}
	return list
}

// setTo is the Remedy that changes a setting.
func setTo(do, name string, value, was any) Remedy {
	quoted := func(v any) string {
		s := asWritten(v, "")
		if strings.Contains(s, " ") {
			s = "'" + s + "'"
		}
		return s
	}
	return Remedy{
		Do:   do,
		Set:  "sysctl -w " + name + "=" + quoted(value),
		Undo: "sysctl -w " + name + "=" + quoted(was),
	}
}

// seconds is a duration as a person says it.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f hours", d.Hours())
}

// rate is a number per second as a person says it.
func rate(perSecond float64) string {
	if perSecond < 10 {
		return fmt.Sprintf("%.1f/s", perSecond)
	}
	return fmt.Sprintf("%.0f/s", perSecond)
}

// holders names the processes that have one of the inodes open, the first
// few; "" if none is known.
func (s *Snapshot) holders(inodes ...uint32) string {
	var names []string
	for _, inode := range inodes {
		for _, p := range s.Holders[inode] {
			// A program may put any byte into its name.
			name := strings.Trim(strconv.QuoteToASCII(p.Name), `"`)
			if n := fmt.Sprintf("%s (pid %d)", name, p.PID); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return some(names)
}

// withHolders adds the processes to the evidence, where they were asked for.
func (s *Snapshot) withHolders(list []Evidence, inodes ...uint32) []Evidence {
	who := s.holders(inodes...)
	if who == "" && s.HoldersHidden {
		who = "of another user or container, or gone: not visible from here"
	}
	if who == "" {
		return list
	}
	return append(list, Evidence{"process", who})
}

// some is a list in one line.
func some(names []string) string {
	if n := len(names) - maxNames; n > 0 {
		return strings.Join(names[:maxNames], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}

// Report is what a Checker found.
type Report struct {
	Time     time.Time // when it looked
	Severity Severity  // that of the worst Finding; OK if there is none
	Findings []Finding // the worst first
}

// MarshalJSON implements json.Marshaler: an object with the keys time, severity and
// findings, which is never null.
func (r Report) MarshalJSON() ([]byte, error) {
	findings := r.Findings
	if findings == nil {
		findings = []Finding{}
	}
	return json.Marshal(struct {
		Time     time.Time `json:"time"`
		Severity Severity  `json:"severity"`
		Findings []Finding `json:"findings"`
	}{r.Time, r.Severity, findings})
}

// NewReport is the Report of a Snapshot's Findings, as Diagnose returns them.
func NewReport(s *Snapshot, findings []Finding) Report {
	r := Report{Time: s.Time, Findings: findings}
	for _, f := range findings {
		r.Severity = max(r.Severity, f.Severity)
	}
	return r
}
