package fleet

import (
	"io"
	"net"
	"sync"
	"time"
)

// Each direction of a connection holds at most chunkLimit chunks of up to chunkBytes that wait for their time.
const (
	chunkBytes = 32 << 10
	chunkLimit = 1024
)

// link relays TCP connections from a port of its own to a target. It delivers each byte a delay after it came, and nothing at all
// while it is cut: neither bytes nor the end of a connection.
type link struct {
	listener net.Listener
	target   string
	delay    time.Duration

	mu     sync.Mutex
	whole  chan struct{} // closed while the link is not cut
	open   map[net.Conn]bool
	closed bool
}

func newLink(target string, delay time.Duration) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, target: target, delay: delay, open: map[net.Conn]bool{}, whole: make(chan struct{})}
	close(k.whole)
	go k.run()
	return k, nil
}

func (k *link) addr() string { return k.listener.Addr().String() }

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.whole:
		k.whole = make(chan struct{})
	default:
	}
}

func (k *link) heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.whole:
	default:
		close(k.whole)
	}
}

// lose breaks every connection, and drops what is on its way.
func (k *link) lose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.open {
		c.Close()
	}
}

// pass returns when the link is not cut.
func (k *link) pass() {
	k.mu.Lock()
	whole := k.whole
	k.mu.Unlock()
	<-whole
}

func (k *link) close() {
	k.listener.Close()
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.lose()
	k.heal()
}

func (k *link) run() {
	for {
		near, err := k.listener.Accept()
		if err != nil {
			return
		}
		go k.relay(near)
	}
}

// keep remembers c until drop; false if the link is closed already.
func (k *link) keep(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed {
		k.open[c] = true
	}
	return !k.closed
}

func (k *link) drop(c net.Conn) {
	c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.open, c)
}

// relay joins a connection with a new one to the target. It ends when either direction has failed, or both have ended.
func (k *link) relay(near net.Conn) {
	defer k.drop(near)
	if !k.keep(near) {
		return
	}
	k.pass()
	far, err := net.DialTimeout("tcp", k.target, 5*time.Second)
	if err != nil {
		return
	}
	defer k.drop(far)
	if !k.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { k.pump(far, near) })
	both.Go(func() { k.pump(near, far) })
	both.Wait()
}

type chunk struct {
	due  time.Time
	data []byte
	err  error // the reason why nothing follows
}

// pump copies from one side to the other.
func (k *link) pump(to, from net.Conn) {
	chunks := make(chan chunk, chunkLimit)
	go func() {
		defer close(chunks)
		for {
			data := make([]byte, chunkBytes)
			n, err := from.Read(data)
			chunks <- chunk{time.Now().Add(k.delay), data[:n], err}
			if err != nil {
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
		k.pass()
		if _, err := to.Write(c.data); err != nil {
			from.Close()
			broken = true
		} else if half, ok := to.(*net.TCPConn); c.err == io.EOF && ok {
			half.CloseWrite()
		} else if c.err != nil {
			to.Close()
		}
	}
}
