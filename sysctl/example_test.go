package sysctl_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing/fstest"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// A /proc/sys of files made up for a test. Get reads the real one.
func ExampleKey_GetFS() {
	proc := fstest.MapFS{
		"net/ipv4/tcp_fin_timeout":     {Data: []byte("60\n")},
		"net/ipv4/tcp_tw_reuse":        {Data: []byte("2\n")},
		"net/ipv4/ip_local_port_range": {Data: []byte("32768\t60999\n")},
	}
	timeout, err := sysctl.TCPFinTimeout.GetFS(proc)
	fmt.Println(timeout, err)
	reuse, err := sysctl.TCPTWReuse.GetFS(proc)
	fmt.Println(reuse, err)
	ports, err := sysctl.IPLocalPortRange.GetFS(proc)
	fmt.Println(ports, ports.Len(), err)

	_, err = sysctl.TCPTWRecycle.GetFS(proc)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	fmt.Println(err)
	// Output:
	// 1m0s <nil>
	// loopback <nil>
	// 32768-60999 28232 <nil>
	// true
	// sysctl net.ipv4.tcp_tw_recycle: gone since Linux 4.12: open net/ipv4/tcp_tw_recycle: file does not exist
}

func ExampleLookup() {
	key, ok := sysctl.Lookup("net.ipv4.tcp_fin_timeout")
	if !ok {
		fmt.Println("no such key")
		return
	}
	info := key.Info()
	fmt.Printf("%s: default %s %s, per %s, since Linux %s\n", info.Path, info.Default, info.Unit, info.Scope, info.Since)
	_, isTime := key.(sysctl.Key[time.Duration])
	fmt.Println("a time:", isTime)
	// Output:
	// net/ipv4/tcp_fin_timeout: default 60 seconds, per namespace, since Linux 2.2
	// a time: true
}

// What the whole table says in the namespace of another process, from any thread.
func ExampleInNamespace() {
	ns, err := os.Open("/proc/1/ns/net")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ns.Close() // after the last use of the file system
	proc := sysctl.InNamespace(int(ns.Fd()))
	for key := range sysctl.Keys() {
		value, err := key.GetAnyFS(proc)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(key.Info().Name, value)
	}
}
