package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sysctl"
)

// sceneJob is what the process of a scene reads. It writes a sceneReport.
type sceneJob struct {
	Scene       scene
	Repetitions int
	Only        string
	Floor       string // the executable
}

// runLimit is far more than any run takes.
const runLimit = 2 * time.Minute

// sceneRole is the process of a scene: it makes the sockets in the namespace that
// it was started in, and measures.
func sceneRole(ctx context.Context, _ []string, stdout, stderr io.Writer) error {
	var job sceneJob
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		return err
	}
	only, err := regexp.Compile(job.Only)
	if err != nil {
		return err
	}
	if err := prepareNamespace(); err != nil {
		return err
	}
	r := &sceneReport{scene: job.Scene}
	if r.Table, err = sysctl.TCPEhashEntries.Get(); err != nil {
		return err
	}
	begin := time.Now()
	crowd, err := gather(ctx, job.Scene)
	if err != nil {
		return err
	}
	defer crowd.disperse()
	ended, err := endConnections(job.Scene.timeWaits())
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%v: %v to make the sockets\n", job.Scene, time.Since(begin).Round(100*time.Millisecond))

	type turn struct {
		operation
		contender
	}
	var groups [][]turn
	for _, op := range selected(only) {
		var group []turn
		for _, c := range op.contenders {
			if op.in(job.Scene) && c.in(job.Scene) {
				group = append(group, turn{op, c})
			}
		}
		if len(group) > 0 {
			groups = append(groups, group)
		}
	}
	begin = time.Now()
	for repetition := range job.Repetitions {
		for _, group := range groups {
			// Not within a group: all of it shall see the same sockets.
			if err := ended.renew(ctx); err != nil {
				return err
			}
			first := len(r.Runs)
			for i := range group {
				t := group[(i+repetition)%len(group)]
				run := runResult{Operation: t.operation.name, Contender: t.contender.name, Repetition: repetition}
				run.sample, err = runOnce(ctx, t.contender, &job, crowd)
				switch {
				case ctx.Err() != nil:
					return context.Cause(ctx)
				case errors.Is(err, exec.ErrNotFound):
					run.Missing = true
				case err != nil:
					run.Failure = err.Error()
				case t.rowless:
					run.wantNoRow()
				}
				r.Runs = append(r.Runs, run)
			}
			compareRows(r.Runs[first:], group[0].contender.name)
		}
	}
	fmt.Fprintf(stderr, "%v: %v to measure %d times\n", job.Scene, time.Since(begin).Round(100*time.Millisecond), job.Repetitions)
	return json.NewEncoder(stdout).Encode(r)
}

// wantNoRow makes a failure of a run that was to see no sockets and did. Its rows are not
// to be compared.
func (r *runResult) wantNoRow() {
	if r.Rows != 0 {
		r.Failure = fmt.Sprintf("it saw %d sockets, and there should be none", r.Rows)
	}
	r.Rows = -1
}

// compareRows makes failures of those runs of an operation, in one repetition,
// that saw other sockets than the floor. Nobody else makes or closes any.
func compareRows(runs []runResult, floor string) {
	for _, f := range runs {
		if f.Contender != floor || !f.good() {
			continue
		}
		for i := range runs {
			if r := &runs[i]; r.good() && r.Rows >= 0 && r.Rows != f.Rows {
				r.Failure = fmt.Sprintf("it saw %d sockets, and the floor %d", r.Rows, f.Rows)
			}
		}
	}
}

// runOnce is one run of a contender.
func runOnce(ctx context.Context, c contender, job *sceneJob, crowd *crowd) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	args := c.arguments(job.Scene, crowd.local, crowd.remote)
	program := c.program
	switch program {
	case programFloor:
		program = job.Floor
	case programPeer:
		program, args = self, append([]string{"peer"}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var out, complaints bytes.Buffer
	cmd.Stderr = &complaints
	if c.measuresItself() {
		cmd.Stdout = &out // else /dev/null
	}
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	s := sample{NS: float64(took), Rows: -1}
	if err == nil {
		s.CPU = float64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
	}
	if err == nil && c.measuresItself() {
		s = sample{}
		err = json.Unmarshal(out.Bytes(), &s)
	}
	if text := strings.TrimSpace(complaints.String()); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return s, err
}

// prepareNamespace brings the loopback up, and lets as many sockets be in
// TIME_WAIT as are made, each until its time is over.
func prepareNamespace() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return os.NewSyscallError("bring lo up", err)
	}
	return errors.Join(
		writeSysctl("net/ipv4/tcp_max_tw_buckets", int(2*m)),
		writeSysctl("net/ipv4/tcp_tw_reuse", 0),
	)
}
