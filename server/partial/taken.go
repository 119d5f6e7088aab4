package partial

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// takenTime is for how long a message may wait until who follows takes it. Meanwhile the store keeps what it had
	// when a copy began, as much as there was then.
	takenTime = 10 * time.Minute
	// takenLook is how often it is looked.
	takenLook = takenTime / 10
)

var errUntaken = fmt.Errorf("what was sent was not taken for %v", takenTime)

// taken is a stream of which is known for how long what is sent waits.
type taken struct {
	grpc.ServerStream
	clock clock.Clock

	mu    sync.Mutex
	waits bool
	since time.Duration // by the clock that counts while the machine is suspended
}

// SendMsg implements grpc.ServerStream. One message is sent at a time.
func (t *taken) SendMsg(m any) error {
	t.mark(true)
	defer t.mark(false)
	return t.ServerStream.SendMsg(m)
}

func (t *taken) mark(waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits, t.since = waits, t.clock.Elapsed()
}

func (t *taken) late() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waits && t.clock.Elapsed()-t.since >= takenTime
}

// while runs serve, which sends, and returns what comes of it, or errUntaken once what is sent is not taken for too
// long. What serve waits for ends when the handler of the stream has returned, and serve does then: until then what it
// knows is its own.
func (t *taken) while(serve func() error) error {
	left, err := clock.Unless(t.clock, takenLook, t.late, serve)
	if left {
		return errUntaken
	}
	return err
}
