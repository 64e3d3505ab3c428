package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

// object is an ELF file with nothing but the section, as far as it has one.
func object(t *testing.T, section, info string) []byte {
	t.Helper()
	names := "\x00.shstrtab\x00" + section + "\x00"
	const headerLen, sectionLen = 64, 64
	infoOff := uint64(headerLen + 3*sectionLen)
	var b bytes.Buffer
	for _, v := range []any{
		elf.Header64{
			Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:    uint16(elf.ET_REL),
			Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Shoff: headerLen, Ehsize: headerLen, Shentsize: sectionLen, Shnum: 3, Shstrndx: 1,
		},
		elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: infoOff + uint64(len(info)), Size: uint64(len(names))},
		elf.Section64{Name: 11, Type: uint32(elf.SHT_PROGBITS), Off: infoOff, Size: uint64(len(info))},
		[]byte(info), []byte(names),
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLoadOrder(t *testing.T) {
	dir := t.TempDir()
	module := func(name, depends string) {
		info := "license=GPL\x00softdepends=no\x00depends=" + depends + "\x00name=" + name + "\x00"
		writeFile(t, filepath.Join(dir, "lib/modules/6.1", name+".ko"), object(t, ".modinfo", info))
	}
	writeFile(t, filepath.Join(dir, "boot/vmlinuz-6.1"), nil)
	module("tcp_diag", "inet_diag")
	module("mptcp-diag", "inet_diag,mptcp-core")
	module("mptcp_core", "")
	module("inet_diag", "built_in")
	module("around", "about")
	module("about", "around")
	module("unwanted", "")
	u, err := openUnpacked(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := u.loadOrder(t.Context(), []string{"none", "mptcp_diag", "tcp_diag", "inet_diag", "around"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, filepath.Base(f))
	}
	want := []string{"inet_diag.ko", "mptcp_core.ko", "mptcp-diag.ko", "tcp_diag.ko", "about.ko", "around.ko"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if filepath.Base(u.image) != "vmlinuz-6.1" {
		t.Errorf("image %s", u.image)
	}

	for name, b := range map[string][]byte{"text": []byte("no ELF"), "strange": object(t, ".data", "depends=x\x00")} {
		writeFile(t, filepath.Join(dir, name+".ko"), b)
		u.modules[name] = filepath.Join(dir, name+".ko")
		if files, err := u.loadOrder(t.Context(), []string{name}); err == nil {
			t.Errorf("%s: %v", name, files)
		}
	}
}

func TestDependenciesCompressed(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		nstest.Skip(t, "xz: %v", err)
	}
	name := filepath.Join(t.TempDir(), "sctp.ko")
	writeFile(t, name, object(t, ".modinfo", "depends=udp_tunnel,ip6_udp_tunnel\x00"))
	if out, err := exec.Command("xz", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := dependencies(t.Context(), name+".xz")
	if d := cmp.Diff([]string{"udp_tunnel", "ip6_udp_tunnel"}, got); d != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
}

func TestOpenUnpacked(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "boot/vmlinuz"), nil)
	if _, err := openUnpacked(dir); err == nil || !strings.Contains(err.Error(), "no modules") {
		t.Errorf("without modules: %v", err)
	}
	if _, err := openUnpacked(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "x.ko"), nil)
	if _, err := openUnpacked(dir); err == nil || !strings.Contains(err.Error(), "no vmlinuz") {
		t.Errorf("without a kernel: %v", err)
	}
}
