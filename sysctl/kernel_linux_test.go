package sysctl_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/internal/kernels/plan"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sysctl"
)

// What the tables say about releases and defaults is true of kernels as they are released. Distributors change both.

// freshBoot reports whether the kernel is one of internal/kernels, in which nobody has set anything yet.
func freshBoot() bool {
	_, err := os.Stat(plan.Path)
	return err == nil
}

// asReleased skips the test on kernels that nobody vouches for.
func asReleased(t *testing.T) {
	t.Helper()
	if !freshBoot() && os.Getenv("TIMEWAIT_REQUIRE") != "1" {
		nstest.Skip(t, "a kernel known to be as it was released, such as those of go run ./internal/kernels")
	}
}

// backported are keys that a stable series got, by the first release of that series that is known to have them.
var backported = map[string]string{
	"net.ipv4.tcp_migrate_req": "5.10",
}

// release is the kernel's, as two numbers that compare as a whole.
func release(t *testing.T, text string) int {
	t.Helper()
	var major, minor int
	if _, err := fmt.Sscanf(text, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("release %q: %v", text, err)
	}
	return major*1000 + minor
}

func running(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	return release(t, string(text))
}

// expected reports whether the running kernel should have the key, in some namespace.
func expected(t *testing.T, info sysctl.Info) bool {
	t.Helper()
	since := info.Since
	if early, ok := backported[info.Name]; ok {
		since = early
	}
	return running(t) >= release(t, since) && (info.Removed == "" || running(t) < release(t, info.Removed))
}

// A kernel has the keys that its release should have, and no others; a namespace may write those that are its own, and
// no others.
func TestReleaseAndScope(t *testing.T) {
	asReleased(t)
	if inUserNamespace(t) {
		return
	}
	for key := range sysctl.Keys() {
		info := key.Info()
		if _, err := os.Stat("/proc/sys/" + info.Path); freshBoot() && (err == nil) != expected(t, info) {
			t.Errorf("%s is said to be since %q and removed in %q: %v", info.Name, info.Since, info.Removed, err)
		}
	}
	newNamespace(t).do(func() {
		for key := range sysctl.Keys() {
			info := key.Info()
			stat, err := os.Stat("/proc/sys/" + info.Path)
			switch {
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				t.Error(err)
			case !expected(t, info):
				if err == nil {
					t.Errorf("%s is there, though since %q and removed in %q", info.Name, info.Since, info.Removed)
				}
			case info.Scope == sysctl.Host:
				if err == nil && stat.Mode().Perm()&0o200 != 0 {
					t.Errorf("%s is of the host, and a namespace may write it", info.Name)
				}
			case err != nil:
				t.Errorf("%s is of each namespace since %s: %v", info.Name, info.Since, err)
			case (stat.Mode().Perm()&0o200 == 0) != strings.Contains(info.Range, "read-only"):
				t.Errorf("%s has mode %v and the range %q", info.Name, stat.Mode(), info.Range)
			}
		}
	})
}

// withoutKey are the files net/ipv4/tcp_* that have no Key, each with the reason: none of them decides how long a socket
// stays in a state, whether a connection comes about, or how many there can be.
var withoutKey = map[string]string{
	// How fast data flows, and how losses are found and repaired.
	"tcp_adv_win_scale": "window", "tcp_app_win": "window", "tcp_window_scaling": "window", "tcp_shrink_window": "window",
	"tcp_workaround_signed_windows": "window", "tcp_moderate_rcvbuf": "window", "tcp_rcvbuf_low_rtt": "window",
	"tcp_autocorking": "sending", "tcp_limit_output_bytes": "sending", "tcp_min_tso_segs": "sending", "tcp_tso_rtt_log": "sending",
	"tcp_tso_win_divisor": "sending", "tcp_notsent_lowat": "sending", "tcp_pacing_ca_ratio": "sending", "tcp_pacing_ss_ratio": "sending",
	"tcp_pingpong_thresh": "ACKs", "tcp_backlog_ack_defer": "ACKs", "tcp_comp_sack_delay_ns": "ACKs", "tcp_comp_sack_nr": "ACKs",
	"tcp_comp_sack_rtt_percent": "ACKs", "tcp_comp_sack_slack_ns": "ACKs",
	"tcp_dsack": "loss", "tcp_early_retrans": "loss", "tcp_fack": "loss", "tcp_frto": "loss", "tcp_max_reordering": "loss",
	"tcp_recovery": "loss", "tcp_reordering": "loss", "tcp_retrans_collapse": "loss", "tcp_sack": "loss", "tcp_thin_linear_timeouts": "loss",
	"tcp_min_rtt_wlen": "round-trip time", "tcp_no_ssthresh_metrics_save": "metrics",
	"tcp_base_mss": "packet size", "tcp_min_snd_mss": "packet size", "tcp_mtu_probe_floor": "packet size", "tcp_mtu_probing": "packet size",
	"tcp_probe_interval": "packet size", "tcp_probe_threshold": "packet size",
	"tcp_ecn_fallback": "congestion", "tcp_ecn_option": "congestion", "tcp_ecn_option_beacon": "congestion",
	"tcp_allowed_congestion_control": "congestion", "tcp_available_congestion_control": "congestion",
	"tcp_plb_cong_thresh": "paths", "tcp_plb_enabled": "paths", "tcp_plb_idle_rehash_rounds": "paths", "tcp_plb_rehash_rounds": "paths",
	"tcp_plb_suspend_rto_sec": "paths",
	// The rest.
	"tcp_available_ulp": "protocols above TCP", "tcp_early_demux": "routing", "tcp_fwmark_accept": "routing", "tcp_l3mdev_accept": "routing",
	"tcp_reflect_tos": "type of service", "tcp_stdurg": "urgent data", "tcp_low_latency": "without effect since 4.14",
	"tcp_rx_skb_cache": "memory of packets, gone", "tcp_tx_skb_cache": "memory of packets, gone",
	"tcp_fastopen_blackhole_timeout_sec": "a detail of Fast Open", "tcp_fastopen_key": "a secret",
}

// The kernel has no setting of TCP that was overlooked.
func TestNoSettingIsOverlooked(t *testing.T) {
	asReleased(t)
	files, err := os.ReadDir("/proc/sys/net/ipv4")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "tcp_") {
			continue
		}
		seen++
		_, hasKey := sysctl.Lookup(path.Join("net/ipv4", f.Name()))
		reason, ignored := withoutKey[f.Name()]
		switch {
		case !hasKey && !ignored:
			t.Errorf("%s has no Key, and no reason for that in withoutKey", f.Name())
		case hasKey && ignored:
			t.Errorf("%s has a Key, and a reason for none: %s", f.Name(), reason)
		}
	}
	if seen < 70 {
		t.Errorf("only %d files", seen)
	}
}

// computed are the keys whose default DefaultFS does not know; TestComputedDefaults does.
var computed = map[string]bool{
	"net.ipv4.tcp_congestion_control": true, "net.ipv4.tcp_ehash_entries": true, "net.ipv4.tcp_mem": true, "net.ipv4.tcp_rmem": true,
	"net.ipv4.tcp_wmem": true, "net.netfilter.nf_conntrack_buckets": true,
	"net.netfilter.nf_conntrack_count": true, // is no setting
}

// byTable are those whose default DefaultFS knows where the kernel tells the size of its hash table, since 6.1.
var byTable = map[string]bool{
	"net.ipv4.tcp_max_tw_buckets": true, "net.ipv4.tcp_max_orphans": true, "net.ipv4.tcp_max_syn_backlog": true,
}

// checkDefaults compares the value of every key that the namespace of the calling thread has with DefaultFS.
func checkDefaults(t *testing.T, own bool) {
	proc := os.DirFS("/proc/sys")
	checked := 0
	for key := range sysctl.Keys() {
		info := key.Info()
		value, err := key.GetAny()
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			continue
		}
		want, known := key.DefaultAnyFS(proc)
		if unknown := computed[info.Name] || byTable[info.Name] && running(t) < 6001; known == unknown {
			t.Errorf("%s: the default is known: %v (%v)", info.Name, known, want)
		}
		if !known || own && info.Scope == sysctl.Host {
			continue
		}
		checked++
		if !reflect.DeepEqual(value, want) {
			t.Errorf("%s is %v in what nobody has changed, and the default is said to be %v", info.Name, value, want)
		}
	}
	if checked < 25 {
		t.Errorf("only %d defaults to compare", checked)
	}
}

// A new namespace has the defaults, and so has a kernel in which nobody has set anything.
func TestDefaults(t *testing.T) {
	asReleased(t)
	if inUserNamespace(t) {
		return
	}
	if freshBoot() {
		checkDefaults(t, false)
	}
	newNamespace(t).do(func() { checkDefaults(t, true) })
}
