package owner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
)

// BenchmarkFind looks for sockets on a host of 1000 processes with 100
// descriptors each, and so do the programs that people use for it, and the plain
// way of package os.
func BenchmarkFind(b *testing.B) {
	const processes, descriptors = 1000, 100
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		nstest.Skip(b, "sleep: %v", err)
	}
	var files []*os.File
	var inodes []uint32
	for range descriptors {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			b.Fatal(err)
		}
		files = append(files, os.NewFile(uintptr(fd), "socket"))
		inodes = append(inodes, uint32(st.Ino))
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range processes {
		cmd := exec.Command(sleep, "600")
		cmd.ExtraFiles = files
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
	}

	for name, asked := range map[string][]uint32{"one": inodes[:1], "all": inodes} {
		b.Run("Find/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o, err := owner.Find(b.Context(), asked...)
				if err != nil {
					b.Fatal(err)
				}
				if holders, _ := o.Of(asked[0]); len(holders) < processes {
					b.Fatalf("%d holders", len(holders))
				}
			}
		})
	}
	b.Run("os.Readlink", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			found := 0
			links, err := filepath.Glob("/proc/[0-9]*/fd/*")
			if err != nil {
				b.Fatal(err)
			}
			for _, link := range links {
				if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:[") {
					found++
				}
			}
			if found < processes*descriptors {
				b.Fatalf("%d sockets", found)
			}
		}
	})
	for _, args := range [][]string{{"ss", "-Htanp"}, {"lsof", "-nPi"}} {
		b.Run(strings.Join(args, " "), func(b *testing.B) {
			path, err := exec.LookPath(args[0])
			if err != nil {
				nstest.Skip(b, "%s: %v", args[0], err)
			}
			for b.Loop() {
				_ = exec.Command(path, args[1:]...).Run() // lsof: 1 where it finds none
			}
		})
	}
}
