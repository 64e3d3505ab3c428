package sockdiag_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// What a kernel sent of a connection that retransmits, as JSON.
func ExampleSocket_MarshalJSON() {
	s := sockdiag.Socket{
		Family:    sockdiag.IPv4,
		Protocol:  sockdiag.TCP,
		State:     tcpstate.Established,
		Timer:     sockdiag.Timer{Kind: sockdiag.TimerRetransmit, Retransmits: 2, Expires: 840 * time.Millisecond},
		Local:     netip.MustParseAddrPort("192.0.2.1:43210"),
		Remote:    netip.MustParseAddrPort("198.51.100.7:443"),
		Cookie:    4097,
		SendQueue: 1448,
		UID:       1000,
		Inode:     31415,
		Attrs:     sockdiag.AttrTCPInfo | sockdiag.AttrCongestion | sockdiag.AttrShutdown | sockdiag.AttrCgroupID,

		Congestion: "cubic",
		CgroupID:   1<<40 + 5,
	}
	// A kernel sends more of struct tcp_info than these first members.
	info := []byte{1, 4, 2, 0, 2, 0x07, 0x77, 0} // state, ca_state, retransmits, probes, backoff, options, two wscales
	info = binary.NativeEndian.AppendUint32(info, 816_000)
	info = binary.NativeEndian.AppendUint32(info, 40_000)
	if err := s.TCPInfo.UnmarshalBinary(info); err != nil {
		log.Fatal(err)
	}

	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b))
	// Output:
	// {
	//   "family": "IPv4",
	//   "protocol": "TCP",
	//   "state": "ESTABLISHED",
	//   "local": "192.0.2.1:43210",
	//   "remote": "198.51.100.7:443",
	//   "interface": 0,
	//   "cookie": "4097",
	//   "rqueue": 0,
	//   "wqueue": 1448,
	//   "uid": 1000,
	//   "inode": 31415,
	//   "timer": {
	//     "kind": "retransmit",
	//     "retrans": 2,
	//     "expires_ms": 840
	//   },
	//   "tcp_info": {
	//     "state": "ESTABLISHED",
	//     "ca_state": "Loss",
	//     "retransmits": 2,
	//     "probes": 0,
	//     "backoff": 2,
	//     "options": "Timestamps|SACK|WScale",
	//     "snd_wscale": 7,
	//     "rcv_wscale": 7,
	//     "rto_us": 816000,
	//     "ato_us": 40000
	//   },
	//   "cong": "cubic",
	//   "shutdown": "none",
	//   "cgroup_id": "1099511627781"
	// }
}

// What was written as lines of JSON, perhaps on another machine, is Sockets again.
func ExampleSocket_UnmarshalJSON() {
	recorded := strings.NewReader(`
{"family":"IPv6","state":"ESTABLISHED","local":"[2001:db8::1]:443","remote":"[2001:db8::2]:50000","tcp_info":{"rtt_us":1250}}
{"family":"IPv6","state":"TIME_WAIT","local":"[2001:db8::1]:443","remote":"[2001:db8::2]:50001","timer":{"kind":"time-wait","expires_ms":42000}}
`)
	for lines := json.NewDecoder(recorded); lines.More(); {
		var s sockdiag.Socket
		if err := lines.Decode(&s); err != nil {
			log.Fatal(err)
		}
		if left, ok := s.TimeWait(); ok {
			fmt.Println(s.Remote, s.State, left)
		}
		if s.TCPInfo.Has(sockdiag.FieldRTT) {
			fmt.Println(s.Remote, s.State, s.TCPInfo.RTT)
		}
	}
	// Output:
	// [2001:db8::2]:50000 ESTABLISHED 1.25ms
	// [2001:db8::2]:50001 TIME_WAIT 42s
}

// All sockets as lines of JSON, through one buffer.
func ExampleSocket_AppendJSON() {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	var line []byte
	for s, err := range c.Dump(context.Background(), sockdiag.Query{Attrs: sockdiag.AttrTCPInfo}) {
		if err != nil {
			log.Fatal(err)
		}
		line = append(s.AppendJSON(line[:0]), '\n')
		if _, err := out.Write(line); err != nil {
			log.Fatal(err)
		}
	}
}
