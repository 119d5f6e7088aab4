package transfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// lifetime is how long a copy waits for a receiver that lost its connection.
const lifetime = 10 * time.Minute

// tellEvery is how often it is said that somebody takes a copy.
const tellEvery = 2 * time.Second

// Source is the state of which copies are made.
type Source interface {
	// Sync makes what is applied durable.
	Sync() (index uint64, err error)
	// Hold takes hold of the state as it is now, for a copy in the new directory dir.
	Hold(dir string) (*region.Held, error)
}

// ShelfConfig is what a shelf is made of. Every field is required.
type ShelfConfig struct {
	Region  string
	FS      durable.FS
	Dir     string // of the copies; the shelf's own
	Source  Source
	Applied *region.Applied
	Staging *Staging // passes on what came here
	// Copying has the log kept that another region needs behind a copy at p, and says why it cannot be; zero: the
	// copy's position is not known yet. It is told again as long as somebody takes the copy.
	Copying func(region string, p contract.Position) error
	// Unfit reports whether the state here is one of which no copy is given.
	Unfit  func() bool
	Clock  clock.Clock
	Logger *slog.Logger
}

// Shelf makes, keeps and serves copies of this node's state, each a directory named by its identity. It is safe for
// concurrent use.
type Shelf struct {
	config ShelfConfig
	making sync.Mutex // one at a time

	mu     sync.Mutex
	copies map[string]*shelved
	forgot int // how often what was here was forgotten
}

// shelved is a copy that somebody takes or may come back for.
type shelved struct {
	id       string
	region   string // the other one that it was made for, "" if none
	dir      string
	index    uint64 // of the state
	epoch    timeline.Epoch
	position contract.Position
	manifest *checkpoint.Manifest
	users    int
	idle     time.Time // since when nobody takes it
	gone     bool      // the state is another one now: nobody gets more of it
}

// NewShelf returns an empty shelf.
func NewShelf(c ShelfConfig) *Shelf { return &Shelf{config: c, copies: map[string]*shelved{}} }

// Clean removes what an earlier process left.
func (s *Shelf) Clean() error { return checkpoint.Remove(s.config.FS, s.config.Dir) }

// Serve is the transport's handler of Service.
func (s *Shelf) Serve(ctx context.Context, stream transport.Stream) error {
	encoded, err := stream.Recv()
	if err != nil {
		return peer.IgnoreEnd(err)
	}
	var r Request
	if err := json.Unmarshal(encoded, &r); err != nil {
		return fmt.Errorf("%w: request for a copy: %w", contract.ErrMessage, err)
	}
	if err := transport.MaySpeak(ctx, r.Region); err != nil {
		return err
	}
	if r.ID != "" {
		return s.config.Staging.send(ctx, stream, r.ID)
	}
	taken, err := s.take(&r)
	if err != nil {
		return err
	}
	defer s.release(taken)
	s.config.Logger.Info("sends its state", "to", r.Region, "copy", taken.id, "bytes", taken.manifest.Bytes())
	stream = &watched{Stream: stream, shelf: s, region: r.Region, copy: taken}
	return checkpoint.Send(ctx, stream, s.config.FS, taken.dir, taken.manifest)
}

// watched is a stream by which a node takes a copy. It ends once no more of that is given; and as long as messages come
// through to another region, that is alive.
type watched struct {
	transport.Stream
	shelf  *Shelf
	region string
	copy   *shelved
	told   time.Time
}

// Send implements transport.Stream.
func (w *watched) Send(m []byte) error {
	if err := w.shelf.gives(w.copy); err != nil {
		return err
	}
	err := w.Stream.Send(m)
	if w.region == w.shelf.config.Region {
		return err
	}
	if now := w.shelf.config.Clock.Now(); err == nil && now.Sub(w.told) >= tellEvery {
		w.told = now
		_ = w.shelf.config.Copying(w.region, w.copy.position) // what is lost is told when it comes back
	}
	return err
}

// take returns a copy that fits the request, an earlier one that is still good or a new one. Log is kept behind a copy
// for another region from before it is made: a copy from which no log leads on is of no use to it.
func (s *Shelf) take(r *Request) (*shelved, error) {
	s.mu.Lock()
	forgot := s.forgot
	s.mu.Unlock()
	if err := s.check(r); err != nil {
		return nil, err
	}
	if c := s.earlier(r); c != nil {
		return c, nil
	}
	foreign := r.Region != s.config.Region
	if foreign {
		s.tell(r.Region, 0)
	}
	made, err := s.make()
	if err != nil {
		return nil, fmt.Errorf("copy state: %w", err)
	}
	if foreign {
		s.tell(r.Region, made.position)
		made.region = r.Region
	}
	s.removeIdle(func(c *shelved) bool { return foreign && c.region == made.region })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgot != forgot {
		s.remove(made)
		return nil, errUnfit
	}
	s.copies[made.id] = made
	return made, nil
}

// tell has log kept for a region. Where it cannot be the copy is given nevertheless: another node may have the log.
func (s *Shelf) tell(region string, p contract.Position) {
	if err := s.config.Copying(region, p); err != nil {
		s.config.Logger.Warn("the log behind a copy is not kept here", "to", region, "position", p, "err", err)
	}
}

// earlier returns the copy of which the request says that a part is there, nil if it is of no use any more.
func (s *Shelf) earlier(r *Request) *shelved {
	s.mu.Lock()
	c := s.copies[r.Have]
	if c == nil || c.gone || c.index < r.MinIndex || c.epoch < r.MinEpoch {
		s.mu.Unlock()
		return nil
	}
	c.users++
	s.mu.Unlock()
	if r.Region == s.config.Region {
		return c
	}
	if err := s.config.Copying(r.Region, c.position); err != nil {
		s.config.Logger.Warn("an earlier copy is of no use any more", "to", r.Region, "copy", c.id, "err", err)
		s.release(c)
		return nil
	}
	return c
}

var errUnfit = fmt.Errorf(
	"%w: this node holds something else than its region or is being rebuilt, and gives no copies", contract.ErrNotReady)

// gives says why no more of a copy is given.
func (s *Shelf) gives(c *shelved) error {
	s.mu.Lock()
	gone := c.gone
	s.mu.Unlock()
	if gone || s.config.Unfit() {
		return errUnfit
	}
	return nil
}

// Forget ends what copies are made, taken and kept: the state of another node is about to take the place of the one
// here, which was wrong.
func (s *Shelf) Forget() {
	s.mu.Lock()
	s.forgot++
	for _, c := range s.copies {
		c.gone = true
	}
	s.mu.Unlock()
	s.removeIdle(func(*shelved) bool { return true })
}

// check says why no copy can be given for a request.
func (s *Shelf) check(r *Request) error {
	if s.config.Unfit() {
		return errUnfit
	}
	v := s.config.Applied.View()
	if v.Index < r.MinIndex {
		return fmt.Errorf("%w: state at entry %d, asked for %d", contract.ErrNotReady, v.Index, r.MinIndex)
	}
	if v.State.Cursor.Epoch < r.MinEpoch {
		return fmt.Errorf("%w: state of epoch %d, asked for %d",
			contract.ErrNotReady, v.State.Cursor.Epoch, r.MinEpoch)
	}
	if r.Region != s.config.Region && v.State.Role() == timeline.Diverged {
		return fmt.Errorf("%w: region %s cannot be copied", contract.ErrDiverged, s.config.Region)
	}
	return nil
}

func (s *Shelf) make() (*shelved, error) {
	s.making.Lock()
	defer s.making.Unlock()
	var id [idBytes]byte
	_, _ = rand.Read(id[:]) // never fails
	name := hex.EncodeToString(id[:])
	dir := filepath.Join(s.config.Dir, name)
	if err := durable.MakeDir(s.config.FS, s.config.Dir); err != nil {
		return nil, err
	}
	if _, err := s.config.Source.Sync(); err != nil { // so that taking hold is quick
		return nil, err
	}
	held, err := s.config.Source.Hold(dir)
	if err == nil {
		err = held.Write()
	}
	var m *checkpoint.Manifest
	if err == nil {
		m, err = s.describe(dir, id, held)
	}
	if err != nil {
		return nil, errors.Join(err, checkpoint.Remove(s.config.FS, dir))
	}
	meta := held.Metadata()
	return &shelved{
		id: name, dir: dir, index: meta.AppliedIndex, epoch: meta.Epoch, position: meta.Position, manifest: m, users: 1,
	}, nil
}

func (s *Shelf) describe(dir string, id [idBytes]byte, held *region.Held) (*checkpoint.Manifest, error) {
	d := Description{Region: s.config.Region, Index: held.Metadata().AppliedIndex, Origin: held.Origin}
	encoded, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return checkpoint.Describe(s.config.FS, dir, id, encoded)
}

func (s *Shelf) release(c *shelved) {
	s.mu.Lock()
	c.users--
	c.idle = s.config.Clock.Now()
	s.mu.Unlock()
	s.removeIdle(func(c *shelved) bool { return c.gone })
}

// Tidy removes copies that nobody came back for.
func (s *Shelf) Tidy() {
	now := s.config.Clock.Now()
	s.removeIdle(func(c *shelved) bool { return now.Sub(c.idle) > lifetime })
}

// removeIdle removes copies that nobody takes.
func (s *Shelf) removeIdle(those func(*shelved) bool) {
	s.mu.Lock()
	var old []*shelved
	for id, c := range s.copies {
		if c.users == 0 && those(c) {
			old = append(old, c)
			delete(s.copies, id)
		}
	}
	s.mu.Unlock()
	for _, c := range old {
		s.remove(c)
	}
}

func (s *Shelf) remove(c *shelved) {
	if err := checkpoint.Remove(s.config.FS, c.dir); err != nil {
		s.config.Logger.Warn("copy not removed", "dir", c.dir, "err", err)
	}
}
