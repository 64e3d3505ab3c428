package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/seed16c515c6/timewait/internal/kernels/plan"
)

const module = "github.com/seed16c515c6/timewait"

// packages are those whose tests ask the kernel, from the module's root.
var packages = []string{
	"sockdiag", "sockdiag/health", "sockdiag/owner", "sysctl", "tcpstate",
	"internal/btf", "internal/netns", "internal/nlsock", "internal/nstest", "internal/procnet",
}

// programs are what the tests run besides themselves.
var programs = []string{"ss", "nstat"}

// payload is what every guest gets: the files for its initramfs, init among them,
// and the tests among the files.
type payload struct {
	files []file
	tests []plan.Test
}

// build makes the payload in the folder tmp. The guest finds the packages where
// they are in the module, with their source and testdata.
func build(ctx context.Context, tmp string) (*payload, error) {
	static := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"}
	bin := tmp + string(filepath.Separator)
	init := filepath.Join(tmp, "init")
	if _, err := output(ctx, static, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", init, module+"/internal/kernels/guest"); err != nil {
		return nil, err
	}
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", bin}
	list := []string{"list", "-f", "{{.Dir}}"}
	for _, p := range packages {
		args = append(args, module+"/"+p)
		list = append(list, module+"/"+p)
	}
	if _, err := output(ctx, static, "go", args...); err != nil {
		return nil, err
	}
	dirs, err := output(ctx, static, "go", list...)
	if err != nil {
		return nil, err
	}

	var p payload
	if err := p.add("init", init); err != nil {
		return nil, err
	}
	for i, dir := range strings.Split(strings.TrimSpace(string(dirs)), "\n") {
		t := plan.Test{Package: packages[i], Binary: path.Join("/src", packages[i], path.Base(packages[i])+".test")}
		if err := p.add(t.Binary[1:], filepath.Join(tmp, path.Base(t.Binary))); err != nil {
			return nil, err
		}
		if err := p.addPackage(path.Join("src", t.Package), dir); err != nil {
			return nil, err
		}
		p.tests = append(p.tests, t)
	}
	for _, name := range programs {
		if err := p.addProgram(ctx, name); err != nil {
			return nil, err
		}
	}
	return &p, nil
}

func (p *payload) add(name, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	p.files = append(p.files, file{name, 0o755, data})
	return nil
}

// addPackage adds the files of a folder, and of the testdata in it.
func (p *payload) addPackage(name, from string) error {
	return fs.WalkDir(os.DirFS(from), ".", func(rel string, d fs.DirEntry, err error) error {
		switch top, _, _ := strings.Cut(rel, "/"); {
		case err != nil:
			return err
		case !d.IsDir():
			return p.add(path.Join(name, rel), filepath.Join(from, rel))
		case top != "." && top != "testdata":
			return fs.SkipDir
		}
		return nil
	})
}

// addProgram adds a program of this machine with the shared libraries it takes.
// One that is not there is left out: the tests say what they lack.
func (p *payload) addProgram(ctx context.Context, name string) error {
	from, err := exec.LookPath(name)
	if err != nil {
		return nil
	}
	out, err := output(ctx, nil, "ldd", from)
	if err != nil {
		return fmt.Errorf("the libraries of %s: %w", name, err)
	}
	for _, lib := range libraries(string(out)) {
		if err := p.add(lib[1:], lib); err != nil {
			return err
		}
	}
	return p.add("bin/"+name, from)
}

// libraries are the files that ldd tells of, in lines such as
// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", the loader without "=>".
func libraries(ldd string) (files []string) {
	for line := range strings.Lines(ldd) {
		for field := range strings.FieldsSeq(line) {
			if strings.HasPrefix(field, "/") {
				files = append(files, field)
			}
		}
	}
	return files
}
