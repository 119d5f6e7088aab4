package dev

import (
	"io"
	"net"
	"sync"
	"time"
)

// A direction of a proxied connection holds at most chunkLimit chunks of chunkBytes: enough for 3 Gbit/s at 80 ms.
const (
	chunkBytes = 32 << 10
	chunkLimit = 1024
)

// proxy is a TCP relay on a port of its own that holds every byte for a time, in each direction.
type proxy struct {
	listener net.Listener
	target   string
	delay    time.Duration

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func newProxy(target string, delay time.Duration) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, delay: delay, open: map[net.Conn]bool{}}
	go p.run()
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) run() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.relay(near)
	}
}

// keep remembers c until forget; false if the proxy is closed already.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.open[c] = true
	}
	return !p.closed
}

func (p *proxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// relay joins a connection with a new one to the target. It ends when either direction has failed, or both have ended.
func (p *proxy) relay(near net.Conn) {
	defer p.forget(near)
	far, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	defer p.forget(far)
	if !p.keep(near) || !p.keep(far) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(far, near) })
	wg.Go(func() { p.pump(near, far) })
	wg.Wait()
}

type chunk struct {
	due  time.Time
	data []byte
}

// pump copies from one side to the other, each chunk p.delay after it came.
func (p *proxy) pump(to, from net.Conn) {
	chunks := make(chan chunk, chunkLimit)
	go func() {
		defer close(chunks)
		for {
			data := make([]byte, chunkBytes)
			n, err := from.Read(data)
			if n > 0 {
				chunks <- chunk{time.Now().Add(p.delay), data[:n]}
			}
			if err != nil {
				if err != io.EOF {
					to.Close()
				}
				return
			}
		}
	}()
	broken := false
	for c := range chunks {
		if broken {
			continue
		}
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.data); err != nil {
			from.Close()
			broken = true
		}
	}
	if half, ok := to.(*net.TCPConn); ok {
		half.CloseWrite()
	}
}
