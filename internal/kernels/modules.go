package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the modules that tests need, where the kernel has them: what the
// kernel does not build, or has built in, is no file.
var wanted = []string{
	"inet_diag", "tcp_diag", "udp_diag", "raw_diag", "unix_diag", "mptcp_diag",
	"crc32c_generic", "sctp_diag", // SCTP looks for its checksum by name
	"tls", "aes_generic", "gcm", "ctr", "ghash_generic", // and TLS for its cipher
	"tcp_bbr", "tcp_dctcp", "tcp_vegas",
	"nf_conntrack",
}

// unpacked is a kernel package, unpacked.
type unpacked struct {
	image   string            // the file to boot
	modules map[string]string // by name, with underscores: the file
}

func openUnpacked(dir string) (*unpacked, error) {
	u := &unpacked{modules: map[string]string{}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasPrefix(d.Name(), "vmlinuz") {
			u.image = path
		}
		if name, _, ok := strings.Cut(d.Name(), ".ko"); ok {
			u.modules[underscored(name)] = path
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case u.image == "":
		return nil, fmt.Errorf("no vmlinuz below %s", dir)
	case len(u.modules) == 0:
		return nil, fmt.Errorf("no modules below %s", dir)
	}
	return u, nil
}

// underscored is the name that modules use of each other: a file may have a
// hyphen instead.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// loadOrder returns the files of the modules, each behind those it depends on.
// Packages have no modules.dep, which is made when they are installed.
func (u *unpacked) loadOrder(ctx context.Context, names []string) (files []string, err error) {
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = underscored(name)
		path, ok := u.modules[name]
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		needs, err := dependencies(ctx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		files = append(files, path)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// dependencies reads which modules a module needs from its section .modinfo:
// strings such as "depends=udp_tunnel,ip6_udp_tunnel", each with a NUL.
func dependencies(ctx context.Context, path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if strings.HasSuffix(path, ".xz") {
		raw, err = output(ctx, nil, "xz", "-dc", path)
	}
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
