package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	prefix  = "demo/"
	writers = 8
	// putTimeout is how long a client waits for the outcome of a write. It is longer than a move of the primary.
	putTimeout = 10 * time.Second
)

// load is clients that write, each key once, and what they were told. It is safe for concurrent use.
type load struct {
	client *clientv3.Client
	stop   chan struct{}
	all    sync.WaitGroup

	mu   sync.Mutex
	puts []put // in the order of their answers
}

// begin has writers try so many writes a second, together.
func begin(ctx context.Context, client *clientv3.Client, rate int) *load {
	l := &load{client: client, stop: make(chan struct{})}
	every := time.Duration(writers) * time.Second / time.Duration(rate)
	for i := range writers { // evenly, so that the time between two writes is not that of one writer
		l.all.Go(func() { l.write(ctx, i, every*time.Duration(i)/writers, every) })
	}
	return l
}

// end has the writers take no further write, and returns when the last is answered.
func (l *load) end() {
	close(l.stop)
	l.all.Wait()
}

func (l *load) write(ctx context.Context, writer int, first, every time.Duration) {
	next := time.NewTimer(first)
	defer next.Stop()
	for i := 0; ; i++ {
		select {
		case <-next.C:
			next.Reset(every)
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		}
		p := put{key: fmt.Sprintf("%s%d/%06d", prefix, writer, i), sent: time.Now()}
		bounded, cancel := context.WithTimeout(ctx, putTimeout)
		answer, err := l.client.Put(bounded, p.key, p.sent.Format(time.RFC3339Nano))
		cancel()
		if p.answered = time.Now(); err == nil {
			p.revision = answer.Header.Revision
		}
		l.mu.Lock()
		l.puts = append(l.puts, p)
		l.mu.Unlock()
	}
}

// seen returns all that was answered so far.
func (l *load) seen() []put {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.puts)
}

// more waits until so many writes more are acknowledged.
func (l *load) more(ctx context.Context, n int) error {
	want := l.acknowledged() + n
	if err := until(ctx, sceneTimeout, func() bool { return l.acknowledged() >= want }); err != nil {
		return fmt.Errorf("no %d writes are acknowledged: %w", n, err)
	}
	return nil
}

func (l *load) acknowledged() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.puts {
		if p.revision != 0 {
			n++
		}
	}
	return n
}
