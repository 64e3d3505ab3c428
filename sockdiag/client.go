package sockdiag

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Config is how to Dial. The zero Config, like a nil one, is the defaults.
type Config struct {
	// NetNS is the descriptor of the network namespace to look into: an open
	// /run/netns/NAME or /proc/PID/ns/net. Dial duplicates it, and the Client
	// keeps the namespace alive until it is closed. To enter a namespace other
	// than one's own takes CAP_SYS_ADMIN, over it and in one's own user
	// namespace. 0 is the namespace of the thread that calls Dial.
	NetNS int

	// BufferSize is the bytes of the receive buffer that a running call holds.
	// Most callers should leave it 0, for 32 KiB, the kernel's largest batch.
	// Smaller values are raised to that, because a socket that does not fit into
	// a batch ends the kernel's walk without an error. The buffer grows by itself
	// for a first reply that is longer.
	BufferSize int
}

const (
	minBuffer = 32 << 10 // the kernel's largest batch
	maxBuffer = 64 << 20
)

// maxIdle is how many sockets a Client keeps for calls to come.
const maxIdle = 4

// Client asks the kernel about the sockets of one network namespace, the one it
// was dialled in, whichever thread calls later. Its methods may be called at the
// same time and within each other: a call that finds no idle socket opens one.
// Create it with Dial.
type Client struct {
	bufferSize int
	dial       func() (transport, error)
	hangUp     func() error // releases what dial uses
	namespace  *os.File     // what dial enters; nil if it cannot be told

	// Whether the kernel has answered for a protocol; see missing.
	knowsTCP, knowsMPTCP atomic.Bool

	counting counting

	closed atomic.Bool
	mu     sync.Mutex
	conns  []*conn // open ones, busy or idle
}

// Dial opens a Client. It needs no privilege, unless Config names a namespace
// that must be entered. Outside Linux the error matches errors.ErrUnsupported.
func Dial(cfg *Config) (*Client, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	c, err := newClient(*cfg)
	if err != nil {
		return nil, &OpError{Op: "dial", Err: err}
	}
	return c, nil
}

func newClient(cfg Config) (*Client, error) {
	if cfg.NetNS < 0 {
		return nil, fmt.Errorf("Config.NetNS %d is no descriptor: %w", cfg.NetNS, fs.ErrInvalid)
	}
	if cfg.BufferSize < 0 || cfg.BufferSize > maxBuffer {
		return nil, fmt.Errorf("Config.BufferSize %d is not of 0 to %d: %w", cfg.BufferSize, maxBuffer, fs.ErrInvalid)
	}
	// The thread's namespace is looked at, and then opened into.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dial, hangUp, ns, err := newDialer(cfg.NetNS)
	if err != nil {
		return nil, err
	}
	c, err := dialClient(cfg.BufferSize, dial, hangUp)
	if err != nil {
		return nil, err
	}
	c.namespace = ns
	c.counting.open, c.counting.crowd, c.counting.expected = openGauges(ns), minCrowd, expectedMeaning()
	return c, nil
}

// dialClient makes a Client of its parts, and its first socket, so that what
// cannot work fails now.
func dialClient(bufferSize int, dial func() (transport, error), hangUp func() error) (*Client, error) {
	c := &Client{bufferSize: max(bufferSize, minBuffer), dial: dial, hangUp: hangUp}
	first, err := c.acquire()
	if err != nil {
		_ = hangUp()
		return nil, err
	}
	c.release(first, true)
	return c, nil
}

// Close closes the Client. Calls that are running end with net.ErrClosed, as do
// later ones. Closing again does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed.Swap(true) {
		c.mu.Unlock()
		return nil
	}
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()

	// Without the lock: closing waits for a system call that is in the kernel.
	var err error
	for _, cn := range conns {
		err = errors.Join(err, cn.transport.Close())
	}
	if err = errors.Join(err, c.counting.close(), c.hangUp()); err != nil {
		return &OpError{Op: "close", Err: err}
	}
	return nil
}

// acquire returns an idle socket, or a new one. Give it back with release.
func (c *Client) acquire() (*conn, error) {
	if cn, err := c.acquireIdle(); cn != nil || err != nil {
		return cn, err
	}
	return c.open()
}

// open returns a new socket, which is busy.
func (c *Client) open() (*conn, error) {
	t, err := c.dial() // without the lock: it may have to enter a namespace
	if err != nil {
		if c.closed.Load() {
			err = net.ErrClosed
		}
		return nil, err
	}
	cn := newConn(t)
	cn.busy = true

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		_ = t.Close()
		return nil, net.ErrClosed
	}
	c.conns = append(c.conns, cn)
	return cn, nil
}

func (c *Client) acquireIdle() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return nil, net.ErrClosed
	}
	for _, cn := range c.conns {
		if !cn.busy {
			cn.busy = true
			return cn, nil
		}
	}
	return nil, nil
}

// release gives a socket back. One on which anything went wrong is closed: the
// rest of its dump, or a deadline, would meet the next call.
func (c *Client) release(cn *conn, clean bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return // Close has closed it
	}
	idle := 0
	for _, other := range c.conns {
		if !other.busy {
			idle++
		}
	}
	if clean && idle < maxIdle {
		cn.busy = false
		return
	}
	_ = cn.transport.Close()
	c.conns = slices.DeleteFunc(c.conns, func(other *conn) bool { return other == cn })
}
