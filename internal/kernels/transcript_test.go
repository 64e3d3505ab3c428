package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a guest says when all is well, in the form that the testing package
// prints: output goes to the test that the last frame names.
const transcriptOK = "noise\n" +
	"\x1e{\"Kernel\":\"6.1.0-56-cloud-amd64\"}\n" +
	"\x1e{\"Begin\":\"sockdiag\"}\n" +
	"\x16=== RUN   TestA\n" +
	"\x16=== RUN   TestA/one\n" +
	"    a_test.go:3: looking\n" +
	"    a_test.go:4: missing: a thing\n" +
	"\x16--- SKIP: TestA/one (0.00s)\n" +
	"\x16=== NAME  TestA\n" +
	"no newline\x16--- PASS: TestA (0.12s)\n" +
	"\x16=== NAME  \n" +
	"\x16=== RUN   ExampleX\n" +
	"\x16--- PASS: ExampleX (0.00s)\n" +
	"\x16PASS\n" +
	"\x1e{\"End\":\"sockdiag\"}\n" +
	"\x1e{\"Begin\":\"sysctl\"}\n" +
	"\x16=== RUN   TestB\n" +
	"\x16--- PASS: TestB (0.00s)\n" +
	"\x16PASS\n" +
	"\x1e{\"End\":\"sysctl\"}\n" +
	"\x1e{\"Done\":true}\n"

var (
	testPacks = []string{"sockdiag", "sysctl"}
	testSkips = []skip{{"sockdiag", "TestA/*", "6.8", "a thing"}, {"sysctl", "TestOld", "5.14", "older than this kernel"}}
)

func judged(text string) *result {
	r := &result{kernel: kernel{name: "6.1"}}
	r.judge(parseTranscript(text), testPacks, false, testSkips)
	return r
}

func TestTranscript(t *testing.T) {
	r := judged(transcriptOK)
	want := "ok    6.1   6.1.0-56-cloud-amd64: 3 passed, 0 failed, 1 skipped, 0 s\n" +
		"      skipped sockdiag TestA/one: a_test.go:4: missing: a thing\n"
	if d := cmp.Diff(want, r.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	quiet := strings.ReplaceAll(transcriptOK, "    a_test.go:3: looking\n    a_test.go:4: missing: a thing\n", "")
	if r := judged(quiet); !strings.Contains(r.String(), "skipped sockdiag TestA/one: a thing") {
		t.Errorf("a skip without a reason:\n%s", r)
	}
}

// Wherever a transcript breaks off, the kernel does not pass.
func TestTranscriptCutOff(t *testing.T) {
	for n := range len(transcriptOK) - 1 {
		if r := judged(transcriptOK[:n]); len(r.failures) == 0 {
			t.Fatalf("passed with %d bytes: %q", n, transcriptOK[:n])
		}
	}
}

func TestJudge(t *testing.T) {
	const end = "\x16PASS\n\x1e{\"End\":\"sysctl\"}\n"
	for _, tt := range []struct {
		name, old, new string
		want           []string // in the report
	}{
		{"a failed test", "\x16--- PASS: TestB (0.00s)\n\x16PASS\n\x1e{\"End\":\"sysctl\"}",
			"    b_test.go:7: bad\n        worse\n\x16--- FAIL: TestB (0.00s)\n\x16FAIL\n\x1e{\"End\":\"sysctl\",\"Code\":1}",
			[]string{"FAIL  6.1", "sysctl TestB: failed", "b_test.go:7: bad", "worse"}},
		{"a failed example", "\x16--- PASS: TestB (0.00s)\n\x16PASS\n\x1e{\"End\":\"sysctl\"}",
			"\x16--- FAIL: ExampleB (0.00s)\ngot:\n1\nwant:\n2\n\x16FAIL\n\x1e{\"End\":\"sysctl\",\"Code\":1}",
			[]string{"sysctl ExampleB: failed\n        got:\n        1\n        want:"}},
		{"a failed test and status 0", "\x16--- PASS: TestB", "\x16--- FAIL: TestB", []string{"sysctl TestB: failed", "exit status 0 with failed tests"}},
		{"a status without a failed test", end, "\x16PASS\nFAIL: nstest: left open\n\x1e{\"End\":\"sysctl\",\"Code\":1}\n",
			[]string{"sysctl: exit status 1", "nstest: left open"}},
		{"a panic", "\x16--- PASS: TestB (0.00s)\n" + end, "panic: oh\n\ngoroutine 1\n\x1e{\"End\":\"sysctl\",\"Code\":2}\n",
			[]string{"sysctl: exit status 2", "in TestB:", "panic: oh", "goroutine 1"}},
		{"a signal", end, "\x1e{\"Problem\":\"sysctl: signal: killed\"}\n\x1e{\"End\":\"sysctl\",\"Code\":-1}\n",
			[]string{"sysctl: signal: killed", "sysctl: exit status -1"}},
		{"no end", "\x1e{\"End\":\"sysctl\"}\n", "", []string{"sysctl: did not end"}},
		{"never begun", "\x1e{\"Begin\":\"sysctl\"}", "\x1e{\"Begin\":\"sysfs\"}", []string{"sysctl: not run"}},
		{"no test", "\x16=== RUN   TestB\n\x16--- PASS: TestB (0.00s)\n", "testing: warning: no tests to run\n",
			[]string{"sysctl: no test passed", "no tests to run"}},
		{"an unexpected skip", "--- PASS: TestB", "--- SKIP: TestB", []string{"sysctl TestB: skipped, and should not be"}},
		{"a skip for older kernels", "TestB", "TestOld", nil},
		{"a kernel that is new enough", "6.1.0-56", "6.8.0", []string{"sockdiag TestA/one: skipped, and should not be", "missing: a thing"}},
		{"no kernel", `{"Kernel":"6.1.0-56-cloud-amd64"}`, `{}`, []string{"no answer", "sockdiag TestA/one: skipped"}},
		{"too few skips", "--- SKIP: TestA/one", "--- PASS: TestA/one", []string{"sockdiag TestA/*: not skipped, though"}},
		{"a problem of the guest", "\x1e{\"Begin\":\"sysctl\"}", "\x1e{\"Problem\":\"load tls.ko: no\"}\n\x1e{\"Begin\":\"sysctl\"}", []string{"load tls.ko: no"}},
		{"garbage", "\x1e{\"Begin\":\"sysctl\"}", "\x1e{\x1e{\"Begin\":\"sysctl\"}", []string{`the guest said "{"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.ReplaceAll(transcriptOK, tt.old, tt.new)
			if text == transcriptOK {
				t.Fatal("the transcript does not have that")
			}
			r := judged(text)
			if (len(r.failures) == 0) != (tt.want == nil) {
				t.Errorf("failures: %q", r.failures)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.String(), want) {
					t.Errorf("no %q in\n%s", want, r)
				}
			}
		})
	}
}

// A choice of tests may leave packages without any, but not all of them.
func TestJudgeChosen(t *testing.T) {
	text := strings.ReplaceAll(transcriptOK, "\x16=== RUN   TestB\n\x16--- PASS: TestB (0.00s)\n", "")
	text = strings.ReplaceAll(text, "--- SKIP: TestA/one", "--- PASS: TestA/one")
	r := &result{}
	if r.judge(parseTranscript(text), testPacks, true, testSkips); len(r.failures) > 0 {
		t.Errorf("failures: %q", r.failures)
	}
	text = strings.NewReplacer("--- PASS", "=== NAME").Replace(text)
	r = &result{}
	if r.judge(parseTranscript(text), testPacks, true, testSkips); len(r.failures) != 1 {
		t.Errorf("no test at all: failures %q", r.failures)
	}
}
