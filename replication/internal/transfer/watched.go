package transfer

import (
	"context"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
)

// tellEvery is how often it is said that somebody takes a copy.
const tellEvery = 2 * time.Second

// watched is a stream to somebody who takes a copy. It ends once no more of that is given. Of another region it is
// alive as long as messages come through.
type watched struct {
	transport.Stream
	shelf  *Shelf
	region string
	copy   *shelved
	ctx    context.Context
	end    context.CancelCauseFunc // so that nobody waits for a word of who takes it
	told   time.Time
}

// Send implements transport.Stream. What goes to another region is held to its cap.
func (w *watched) Send(m []byte) error {
	foreign := w.region != w.shelf.config.Region
	if foreign {
		if err := w.shelf.config.Throttle.Hold(w.ctx, w.region, nil, w.goesOn); err != nil {
			return err
		}
		w.shelf.config.Throttle.Sent(w.region, len(m))
	}
	if err := w.gives(); err != nil {
		return err
	}
	err := w.Stream.Send(m)
	if err == nil && foreign {
		w.tell()
	}
	return err
}

// gives ends the stream once no more of the copy is given.
func (w *watched) gives() error {
	err := w.shelf.gives(w.copy, w.region)
	if err != nil {
		w.end(err)
	}
	return err
}

// goesOn is what is done while something waits for the region's cap.
func (w *watched) goesOn() error {
	w.tell()
	return w.gives()
}

// tell has the log behind the copy kept, now and then.
func (w *watched) tell() {
	if now := w.shelf.config.Clock.Now(); now.Sub(w.told) >= tellEvery {
		w.told = now
		_ = w.shelf.config.Copying(w.region, w.copy.position) // what is lost is told when it comes back
	}
}

// Recv implements transport.Stream. Whoever says something knows which copy he is given, and can name it if he comes
// back: he cannot have all of it before this node knows.
func (w *watched) Recv() ([]byte, error) {
	p, err := w.Stream.Recv()
	if err == nil {
		w.shelf.spend(w.copy)
	}
	return p, err
}
