package nstest_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// procRow is one line of /proc/net/tcp or tcp6.
type procRow struct {
	Local, Remote netip.AddrPort
	State, Timer  uint8
	TxQueue       uint32
	RxQueue       uint32
	UID           uint32
	Inode         uint32
	Family        uint8
}

// procTCP reads the sockets that /proc shows of the calling thread's namespace.
func procTCP(t *testing.T) []procRow {
	t.Helper()
	var rows []procRow
	for _, f := range []struct {
		name   string
		family uint8
	}{{"tcp", 2}, {"tcp6", 10}} {
		b, err := os.ReadFile("/proc/thread-self/net/" + f.name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		for _, line := range lines[1:] {
			row, err := parseProcRow(line)
			if err != nil {
				t.Fatalf("%s: %q: %v", f.name, line, err)
			}
			row.Family = f.family
			rows = append(rows, row)
		}
	}
	return rows
}

func parseProcRow(line string) (r procRow, err error) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return r, fmt.Errorf("%d fields", len(f))
	}
	if r.Local, err = parseProcAddr(f[1]); err != nil {
		return r, err
	}
	if r.Remote, err = parseProcAddr(f[2]); err != nil {
		return r, err
	}
	if _, err := fmt.Sscanf(f[3], "%x", &r.State); err != nil {
		return r, err
	}
	if _, err := fmt.Sscanf(f[4], "%x:%x", &r.TxQueue, &r.RxQueue); err != nil {
		return r, err
	}
	if _, err := fmt.Sscanf(f[5], "%x:", &r.Timer); err != nil {
		return r, err
	}
	if _, err := fmt.Sscan(f[7], &r.UID); err != nil {
		return r, err
	}
	_, err = fmt.Sscan(f[9], &r.Inode)
	return r, err
}

// parseProcAddr reads "0100007F:0016": the address is printed as 32-bit words of the host, the port as a number.
func parseProcAddr(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %v", s, err)
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	var p uint16
	if _, err := fmt.Sscanf(port, "%x", &p); err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q: %v", s, err)
	}
	return netip.AddrPortFrom(a, p), nil
}
