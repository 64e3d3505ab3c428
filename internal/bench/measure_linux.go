package main

import (
	"bytes"
	"context"
	_ "embed" // floor.c
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// roles are what this executable does when it has started itself.
var roles = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"scene": sceneRole,
	"hold":  holdRole,
	"peer":  peerRole,
}

const self = "/proc/self/exe"

//go:embed floor/floor.c
var floorSource []byte

// buckets is the size of the table of connections that the namespaces get. With
// the host's table the sockets of the host would be walked as well.
const buckets = 1 << 18

// measure measures all that is asked for.
func measure(ctx context.Context, cfg *config, stderr io.Writer) (*report, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("it takes root, to make network namespaces: %w", fs.ErrPermission)
	}
	dir, err := os.MkdirTemp("", "timewait-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	floor := filepath.Join(dir, "floor")
	if err := buildFloor(ctx, floor); err != nil {
		return nil, err
	}
	r := &report{
		Date: time.Now(), Command: cfg.command, Kernel: kernel(), Arch: runtime.GOARCH,
		CPUs: runtime.NumCPU(), Go: runtime.Version(), LoadBefore: load(), Repetitions: cfg.reps, CPUTime: cfg.cpu,
		operations: selected(cfg.only),
	}
	for _, s := range scenes(cfg.sizes, r.operations) {
		if why := lacks(s); why != "" {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%v: %s", s, why))
			continue
		}
		job := sceneJob{Scene: s, Repetitions: cfg.reps, Only: cfg.only.String(), Floor: floor}
		done, err := runScene(ctx, job, stderr)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", s, err)
		}
		r.Scenes = append(r.Scenes, *done)
	}
	r.LoadAfter = load()
	return r, nil
}

func buildFloor(ctx context.Context, to string) error {
	cc, err := exec.LookPath("gcc")
	if err != nil {
		return fmt.Errorf("it takes gcc, for the floor: %w", err)
	}
	cmd := exec.CommandContext(ctx, cc, "-O2", "-x", "c", "-o", to, "-")
	cmd.Stdin = bytes.NewReader(floorSource)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("floor.c: %w\n%s", err, out)
	}
	return nil
}

// runScene makes a namespace, and the scene in it. The size of a namespace's table
// is a setting of the namespace that it is made from: so there are two, and the
// first is that of a thread, which ends with its goroutine.
func runScene(ctx context.Context, job sceneJob, stderr io.Writer) (*sceneReport, error) {
	in, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- os.NewSyscallError("unshare", err)
			return
		}
		// Linux 6.1; before it, all share the host's.
		err := writeSysctl("net/ipv4/tcp_child_ehash_entries", buckets)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			done <- err
			return
		}
		cmd := exec.CommandContext(ctx, self, "scene")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 10 * time.Second
		done <- cmd.Run()
	}()
	if err := <-done; err != nil {
		return nil, err
	}
	r := &sceneReport{}
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		return nil, fmt.Errorf("its report: %w", err)
	}
	return r, nil
}

// lacks says what the machine has too little of for the scene.
func lacks(s scene) string {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err.Error()
	}
	var kib uint64
	_, text, _ := strings.Cut(string(b), "MemAvailable:")
	if _, err := fmt.Sscan(text, &kib); err != nil {
		return "/proc/meminfo: MemAvailable: " + err.Error()
	}
	if have, need := kib*1024, s.memory(); have < need {
		return fmt.Sprintf("it takes %s GB of memory, and there are %s", number(float64(need)/1e9), number(float64(have)/1e9))
	}
	return ""
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	minute, _, _ := strings.Cut(string(b), " ")
	return minute
}

func writeSysctl(path string, value int) error {
	return os.WriteFile("/proc/sys/"+path, []byte(strconv.Itoa(value)), 0)
}
