package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxHeld is how many connections one process holds: descriptors are limited.
const maxHeld = 8000

// listener is a socket that listens.
type listener struct {
	fd   int
	addr unix.SockaddrInet4
}

// listen opens the listeners of one maker of connections, which has an address of
// its own and listens on all ports there.
func listen(network, number byte) ([]listener, error) {
	var all []listener
	for i := range portCount {
		l, err := listenPort(network, number, firstPort+i)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func listenPort(network, number byte, port int) (listener, error) {
	l := listener{addr: unix.SockaddrInet4{Port: port, Addr: [4]byte{127, network, number, 1}}}
	var err error
	if l.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return l, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(l.fd, &l.addr); err != nil {
		return l, os.NewSyscallError("bind", err)
	}
	return l, os.NewSyscallError("listen", unix.Listen(l.fd, 16))
}

// connect makes a connection to the listener, and returns both ends.
func (l *listener) connect() (client, server int, err error) { return l.connectTo(&l.addr) }

// connectTo is connect, to one of the addresses of a listener that has many.
func (l *listener) connectTo(to *unix.SockaddrInet4) (client, server int, err error) {
	client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(client, to); err != nil {
		return 0, 0, os.NewSyscallError("connect", err)
	}
	server, _, err = unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	return client, server, os.NewSyscallError("accept", err)
}

// holdRole makes connections, then prints the ends of the first, and holds them until
// its standard input ends: hold NUMBER CONNECTIONS APART. The first of number 0 has a
// port that no other has.
func holdRole(_ context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) != 3 {
		return errors.New("hold takes three arguments")
	}
	number, err := strconv.ParseUint(args[0], 10, 8)
	if err != nil {
		return err
	}
	connections, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	apart, err := strconv.ParseBool(args[2])
	if err != nil {
		return err
	}
	need := uint64(2*connections + 100)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	limit.Cur, limit.Max = max(limit.Cur, need), max(limit.Max, need)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	if apart {
		return holdApart(byte(number), connections, stdout)
	}
	listeners, err := listen(1, byte(number))
	if err != nil {
		return err
	}
	alone, err := listenPort(1, byte(number), alonePort)
	if err != nil {
		return err
	}
	var ends string
	for i := range connections {
		l := &listeners[i%portCount]
		if number == 0 && i == 0 {
			l = &alone
		}
		client, _, err := l.connect()
		if err != nil {
			return err
		}
		if i == 0 {
			local, err := unix.Getsockname(client)
			if err != nil {
				return os.NewSyscallError("getsockname", err)
			}
			ends = fmt.Sprint(addrPort(local.(*unix.SockaddrInet4)), " ", addrPort(&l.addr))
		}
	}
	fmt.Fprintln(stdout, ends) // which tells that there are all
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// holdApart holds connections each of which is to another address, and each of whose
// servers' ends is from another. The listener is gone then: a port on which nobody
// listens, of those that connect() chooses from, is what an outgoing connection has.
func holdApart(number byte, connections int, stdout io.Writer) error {
	// All of 127.0.0.0/8 is the host's own.
	var l listener
	var err error
	if l.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	for l.addr.Port = apartPort; ; l.addr.Port++ {
		err := unix.Bind(l.fd, &l.addr)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EADDRINUSE) || l.addr.Port == lastPort { // another process's, or of a connection
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Listen(l.fd, 16); err != nil {
		return os.NewSyscallError("listen", err)
	}
	for i := range connections {
		to := unix.SockaddrInet4{Port: l.addr.Port, Addr: [4]byte{127, 1 + number, byte(i >> 8), byte(i)}}
		if _, _, err := l.connectTo(&to); err != nil {
			return err
		}
	}
	if err := unix.Close(l.fd); err != nil {
		return os.NewSyscallError("close", err)
	}
	fmt.Fprintln(stdout)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func addrPort(a *unix.SockaddrInet4) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
}

// crowd is the processes that hold the connections.
type crowd struct {
	local, remote string // the ends of one connection
	holders       []holder
}

type holder struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// gather starts the processes, and returns when there are all connections.
func gather(ctx context.Context, s scene) (*crowd, error) {
	connections := s.connections()
	c := &crowd{}
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for number := 0; connections > 0; number++ {
		n := min(connections, maxHeld)
		connections -= n
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			h, ends, err := hold(ctx, number, n, s.Apart)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = errors.Join(failed, err)
				return
			}
			c.holders = append(c.holders, h)
			if number == 0 {
				c.local, c.remote, _ = strings.Cut(ends, " ")
			}
		})
	}
	wg.Wait()
	if failed != nil {
		c.disperse()
		return nil, failed
	}
	return c, nil
}

// hold starts one process, and returns the ends of one of its connections.
func hold(ctx context.Context, number, connections int, apart bool) (holder, string, error) {
	cmd := exec.CommandContext(ctx, self, "hold", strconv.Itoa(number), strconv.Itoa(connections), strconv.FormatBool(apart))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return holder{}, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return holder{}, "", err
	}
	if err := cmd.Start(); err != nil {
		return holder{}, "", err
	}
	h := holder{cmd, stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		h.end()
		return holder{}, "", fmt.Errorf("making connections: %s", strings.TrimSpace(complaints.String()))
	}
	return h, strings.TrimSpace(line), nil
}

func (h holder) end() {
	_ = h.stdin.Close()
	_ = h.cmd.Wait() // what it says is of no use any more
}

func (c *crowd) disperse() {
	for _, h := range c.holders {
		_ = h.stdin.Close()
	}
	for _, h := range c.holders {
		h.end()
	}
}
