package localfleet

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Each direction of a connection holds at most chunkLimit chunks of up to chunkBytes that wait for their time.
const (
	chunkBytes = 32 << 10
	chunkLimit = 1024
)

// lookInterval is how often a link looks whether its target listens again, and lookTimeout how long a look takes at
// most.
const (
	lookInterval = 50 * time.Millisecond
	lookTimeout  = 5 * time.Second
)

// link relays TCP connections from an address of its own to a target. It delivers each byte a delay after it came, and
// nothing at all while it is cut: neither bytes nor the end of a connection.
//
// It listens while the target does, so that who connects to a target that is gone is refused here as well, and always
// while it is cut. It looks again when something makes it suspect the target: the end of a connection or of the
// process. A target whose end nobody noticed costs the first connection, which is reset.
type link struct {
	addr      string
	delay     time.Duration
	suspected chan struct{} // holds one suspicion at most
	ended     chan struct{} // closed by close
	answered  atomic.Int64  // bytes that came back
	carried   atomic.Int64  // connections

	mu       sync.Mutex
	target   string
	listener net.Listener  // nil while connections are refused
	whole    chan struct{} // closed while the link is not cut
	open     map[net.Conn]bool
	closed   bool
}

// newLink opens a link at addr, where nobody listens.
func newLink(addr, target string, delay time.Duration) *link {
	k := &link{
		addr: addr, target: target, delay: delay, open: map[net.Conn]bool{},
		suspected: make(chan struct{}, 1), ended: make(chan struct{}), whole: make(chan struct{}),
	}
	close(k.whole)
	k.look()
	go k.watch()
	return k
}

// watch looks again and again while connections are refused, and otherwise when there is a suspicion.
func (k *link) watch() {
	for {
		var again <-chan time.Time
		if !k.listens() {
			again = time.After(lookInterval)
		}
		select {
		case <-again:
		case <-k.suspected:
		case <-k.ended:
			return
		}
		k.look()
	}
}

// suspect makes the link look whether it is to listen.
func (k *link) suspect() {
	select {
	case k.suspected <- struct{}{}:
	default:
	}
}

func (k *link) listens() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.listener != nil
}

// look listens or ceases to.
func (k *link) look() {
	wanted := k.isCut() || k.targetListens()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
	case wanted && k.listener == nil:
		// An error means that the port is not free yet; there will be another look.
		if l, err := net.Listen("tcp", k.addr); err == nil {
			k.listener = l
			go k.accept(l)
		}
	case !wanted && k.listener != nil:
		k.listener.Close()
		k.listener = nil
	}
}

// aim gives the link another target. What is open stays with the former one.
func (k *link) aim(target string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.target = target
	k.suspect()
}

func (k *link) aimedAt() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.target
}

// targetListens reports whether the target takes connections, or is too slow to tell.
func (k *link) targetListens() bool {
	c, err := net.DialTimeout("tcp", k.aimedAt(), lookTimeout)
	if err == nil {
		c.Close()
		return true
	}
	var slow net.Error
	return errors.As(err, &slow) && slow.Timeout()
}

func (k *link) isCut() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.whole:
		return false
	default:
		return true
	}
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.whole:
		k.whole = make(chan struct{})
	default:
	}
	k.suspect()
}

func (k *link) heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.whole:
	default:
		close(k.whole)
	}
	k.suspect()
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
	k.mu.Lock()
	if !k.closed {
		close(k.ended)
	}
	k.closed = true
	if k.listener != nil {
		k.listener.Close()
	}
	k.mu.Unlock()
	k.lose()
	k.heal()
}

func (k *link) accept(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		k.carried.Add(1)
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
	defer k.suspect()
	defer k.drop(near)
	if !k.keep(near) {
		return
	}
	k.pass()
	far, err := net.DialTimeout("tcp", k.aimedAt(), lookTimeout)
	if err != nil {
		return
	}
	defer k.drop(far)
	if !k.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { k.pump(far, near, nil) })
	both.Go(func() { k.pump(near, far, &k.answered) })
	both.Wait()
}

type chunk struct {
	due  time.Time
	data []byte
	err  error // the reason why nothing follows
}

// pump copies from one side to the other, and counts what has arrived.
func (k *link) pump(to, from net.Conn, arrived *atomic.Int64) {
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
		if arrived != nil {
			arrived.Add(int64(len(c.data)))
		}
	}
}
