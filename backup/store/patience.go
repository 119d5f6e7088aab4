package store

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a folder is waited for. A disk behind a network whose server is gone never answers, and the
// system does not end the call: then the call is left to itself, and whoever asked goes on.
type patience struct {
	stall time.Duration
	left  atomic.Int32 // calls that were left to themselves, and are not back
}

// turn is one call of a folder. What it does between away and back is not the folder's.
type turn struct {
	mu    sync.Mutex
	since time.Time // when something moved last; zero while away
	over  bool      // nobody waits any more
}

// spend runs f as wait does. While a call is left to itself no other begins, so that no more hang than ran at once.
func (p *patience) spend(f func(*turn) error) error {
	if n := p.left.Load(); n > 0 {
		return fmt.Errorf("%w: of the calls before, %d are not back yet", ErrStalled, n)
	}
	return p.wait(f)
}

// wait runs f, which has to get on within stall wherever it is not away. If it does not, the error is ErrStalled, and f
// may still be at it: then nothing that it wrote may be read.
func (p *patience) wait(f func(*turn) error) error {
	t := &turn{since: time.Now()}
	done := make(chan error, 1)
	go func() { done <- f(t) }()
	timer := time.NewTimer(p.stall)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-timer.C:
		}
		left := t.left(p.stall)
		if left <= 0 {
			p.left.Add(1)
			go func() {
				<-done
				p.left.Add(-1)
			}()
			return fmt.Errorf("%w: no call of the folder came back for %v", ErrStalled, p.stall)
		}
		timer.Reset(left)
	}
}

// left returns for how long the turn may still not move. With 0 or less it is over.
func (t *turn) left(stall time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return stall
	}
	left := stall - time.Since(t.since)
	t.over = left <= 0
	return left
}

// moved notes that the folder answered. It is an error once nobody waits for that.
func (t *turn) moved() error { return t.at(time.Now()) }

// away notes that the folder has answered, and that something else is waited for until back.
func (t *turn) away() error { return t.at(time.Time{}) }

func (t *turn) back() { _ = t.at(time.Now()) } // away was no error, and nobody gives up what is away

func (t *turn) at(since time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return ErrStalled
	}
	t.since = since
	return nil
}

// elsewhere reads from what is not the folder's.
type elsewhere struct {
	turn *turn
	r    io.Reader
}

func (e elsewhere) Read(p []byte) (int, error) {
	if err := e.turn.away(); err != nil {
		return 0, err
	}
	defer e.turn.back()
	return e.r.Read(p)
}

// How much is read from a file at a time, or written to it before that is made durable: on a slow disk
// the last sync would take as long as all of the file.
const (
	readBytes = 256 << 10
	syncBytes = 16 << 20
)

// reading is a file of a folder that is read with patience.
type reading struct {
	folder *folder
	name   string
	file   *os.File
	buffer []byte
	piece  []byte // of it, read and not taken yet
	err    error  // behind the piece
}

func (r *reading) Read(p []byte) (int, error) {
	if len(r.piece) == 0 && r.err == nil {
		r.piece, r.err = r.next()
	}
	if len(r.piece) == 0 {
		return 0, r.err
	}
	n := copy(p, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}

// next reads a piece into memory of its own: a read that is left to itself may still write to that.
func (r *reading) next() (piece []byte, err error) {
	if r.buffer == nil {
		r.buffer = make([]byte, readBytes)
	}
	var n int
	var ended error
	err = r.folder.patience.spend(func(*turn) error {
		n, ended = r.file.Read(r.buffer)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("get %s in %s: %w", r.name, r.folder, err)
	}
	return r.buffer[:n], ended
}

// Close closes the file, also where a read of it is left to itself.
func (r *reading) Close() error {
	return r.folder.patience.wait(func(*turn) error { return r.file.Close() })
}
