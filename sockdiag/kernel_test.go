package sockdiag_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/sockdiag"
)

func TestParseRelease(t *testing.T) {
	for text, want := range map[string]sockdiag.Release{
		"6.18.44-fc-v657":           {Major: 6, Minor: 18, Patch: 44},
		"7.0.0-rc3":                 {Major: 7},
		"7.0-rc3":                   {Major: 7},
		"5.10.0-46-cloud-amd64":     {Major: 5, Minor: 10},
		"6.12.117+deb12-amd64":      {Major: 6, Minor: 12, Patch: 117},
		"3.10.0-1160.el7.x86_64":    {Major: 3, Minor: 10},
		"4.14.336+":                 {Major: 4, Minor: 14, Patch: 336},
		"2.6.32.71":                 {Major: 2, Minor: 6, Patch: 32},
		"5.15.167.4-microsoft-WSL2": {Major: 5, Minor: 15, Patch: 167},
		"6.1":                       {Major: 6, Minor: 1},
	} {
		if got, err := sockdiag.ParseRelease(text); got != want || err != nil {
			t.Errorf("ParseRelease(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "6", "6.", "6.x", ".18", "6.18.", "6.18.x", "v6.18", "-6.18", "+6.18", " 6.18", "99999999999.1", "6.99999999999"} {
		got, err := sockdiag.ParseRelease(text)
		var re *sockdiag.ReleaseError
		if !errors.As(err, &re) || re.Text != text || got != (sockdiag.Release{}) {
			t.Errorf("ParseRelease(%q) = %v, %v; want a ReleaseError", text, got, err)
		} else if !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("the error %q does not quote %q", err, text)
		}
	}
}

func TestReleaseCompare(t *testing.T) {
	ordered := []sockdiag.Release{
		{}, {Major: 2, Minor: 6, Patch: 32}, {Major: 5, Minor: 9, Patch: 16}, {Major: 5, Minor: 10},
		{Major: 6, Minor: 2}, {Major: 6, Minor: 18}, {Major: 6, Minor: 18, Patch: 1}, {Major: 7},
	}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", a, b, got, want)
			}
		}
	}
	r := sockdiag.Release{Major: 6, Minor: 18, Patch: 44}
	if !r.AtLeast(6, 18) || !r.AtLeast(5, 99) || r.AtLeast(6, 19) || r.AtLeast(7, 0) {
		t.Error("AtLeast is wrong for 6.18.44")
	}
}

func TestRunningRelease(t *testing.T) {
	r, err := sockdiag.RunningRelease()
	if runtime.GOOS == "linux" {
		if err != nil || !r.AtLeast(3, 2) { // what Go itself needs
			t.Errorf("RunningRelease() = %v, %v", r, err)
		}
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("RunningRelease() = %v, %v; want errors.ErrUnsupported", r, err)
	}
}

// FuzzRelease: what parses, prints as something that parses to the same.
func FuzzRelease(f *testing.F) {
	for _, s := range []string{"6.18.44-fc", "7.0-rc1", "6", "2.6.32.71", "1.2.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := sockdiag.ParseRelease(s)
		if err != nil {
			if r != (sockdiag.Release{}) {
				t.Errorf("%q: %v with error %v", s, r, err)
			}
			return
		}
		if again, err := sockdiag.ParseRelease(r.String()); again != r || err != nil {
			t.Errorf("%q is %v, but that parses to %v, %v", s, r, again, err)
		}
		if s[0] < '0' || s[0] > '9' || r.Major < 0 || r.Minor < 0 || r.Patch < 0 {
			t.Errorf("%q: %v", s, r)
		}
	})
}
