package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/seed16c515c6/timewait/internal/kernels/plan"
)

const qemu = "qemu-system-x86_64"

// boot runs the tests in a kernel and copies what the guest reports to live as it
// comes. The error is about what came before; how the kernel and the tests ended
// is in the transcript, and never in qemu's status.
func boot(ctx context.Context, u *unpacked, p *payload, cfg *config, live io.Writer) (t *transcript, console string, err error) {
	tmp, err := os.MkdirTemp("", "timewait-kernel-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(tmp)
	initramfs := filepath.Join(tmp, "initramfs")
	if err := pack(ctx, initramfs, u, p, cfg); err != nil {
		return nil, "", err
	}
	consoleFile := filepath.Join(tmp, "console")
	accel := accelerator()
	args := []string{
		"-accel", accel.name, "-cpu", accel.cpu, "-m", "512", "-smp", "1",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-net", "none",
		// The guest's first port is the console, the second one plan.Port.
		"-serial", "file:" + consoleFile, "-serial", "stdio",
		"-kernel", u.image, "-initrd", initramfs,
		// panic and reboot: end at once. The rest makes emulation faster.
		"-append", "console=ttyS0 quiet panic=-1 reboot=t random.trust_cpu=on mitigations=off tsc=unstable rcupdate.rcu_expedited=1",
	}
	var report bytes.Buffer
	limited, cancel := context.WithTimeout(ctx, cfg.limit)
	defer cancel()
	cmd := command(limited, nil, qemu, args...)
	cmd.SysProcAttr = dieWithParent()
	cmd.Stdout = io.MultiWriter(&report, live)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// The kernel sends the signal of dieWithParent when the thread ends that
	// started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	said, _ := os.ReadFile(consoleFile)
	t = parseTranscript(report.String())
	switch {
	case t.done:
	case ctx.Err() != nil:
		t.problems = append(t.problems, "interrupted")
	case limited.Err() != nil:
		t.problems = append(t.problems, fmt.Sprintf("no end within %v", cfg.limit))
	default:
		t.problems = append(t.problems, fmt.Sprintf("the kernel ended before the tests did (qemu: %v) %s", err, stderr.String()))
	}
	return t, strings.ReplaceAll(string(said), "\r", ""), nil
}

// pack writes the initramfs.
func pack(ctx context.Context, name string, u *unpacked, p *payload, cfg *config) error {
	modules, err := u.loadOrder(ctx, wanted)
	if err != nil {
		return err
	}
	files := slices.Clone(p.files)
	todo := plan.Plan{Tests: p.tests, Limit: cfg.limit - bootTime, Args: []string{"-test.v=test2json", "-test.short", // the processor is emulated
		"-test.run=" + cfg.run}}
	for _, m := range modules {
		data, err := os.ReadFile(m)
		if err != nil {
			return err
		}
		f := file{path.Join("modules", filepath.Base(m)), 0o644, data}
		files = append(files, f)
		todo.Modules = append(todo.Modules, "/"+f.name)
	}
	b, err := json.Marshal(todo)
	if err != nil {
		return err
	}
	files = append(files, file{plan.Path[1:], 0o644, b})
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(writeInitramfs(w, files), w.Close())
}

type accel struct{ name, cpu string }

// accelerator is KVM on a machine with it. The device alone is no proof: there
// are some that only boot kernels made for them, on processors without either
// flag.
func accelerator() accel {
	emulated := accel{"tcg", "max"}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`).Match(info) {
		return emulated
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return emulated
	}
	f.Close()
	return accel{"kvm", "host"}
}
