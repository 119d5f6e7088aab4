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
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/throttle"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// lifetime is how long a copy waits for a receiver that lost its connection.
const lifetime = 10 * time.Minute

// Source is the state of which copies are made.
type Source interface {
	// Sync makes what is applied durable.
	Sync() (index uint64, err error)
	// Hold takes hold of the state as it is now, for a copy in the new directory dir.
	Hold(dir string) (*region.Held, error)
}

// ShelfConfig is what a shelf is made of. Every field is required but Formed, Throttle, Look and Damaged.
type ShelfConfig struct {
	Region  string
	Self    uint64 // Raft identity of this node
	FS      durable.FS
	Dir     string // of the copies; the shelf's own
	Source  Source
	Applied *region.Applied
	Staging *Staging // passes on what came here
	// Formed returns the disks with which this region was formed, nil if that is not known. Nil: it is not.
	Formed func() map[uint64]string
	// Copying has the log kept that another region needs behind a copy at p, and says why it cannot be; zero: the
	// copy's position is not known yet. It is told again as long as somebody takes the copy.
	Copying func(region string, p contract.Position) error
	// Bars returns why another region is given no copy, nil if it is. It is asked often, and must not block.
	Bars func(region string) error
	// Throttle has what may go to each other region. Nil: as much as goes.
	Throttle *throttle.Throttle
	// Unfit reports whether the state here is one of which no copy is given.
	Unfit func() bool
	// Differs is Unfit of any node of the region, by its Raft identity. May be nil: nothing is known.
	Differs func(node uint64) bool
	// Look tells whether the files of a copy are what was written. Zero: nobody can.
	Look checkpoint.Look
	// Damaged is told, once a copy is made, that what this node holds is not what it wrote. May be nil.
	Damaged func(error)
	Life    *life.Life
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Shelf makes, keeps and serves copies of this node's state, each a directory named by its identity. It is safe for
// concurrent use.
type Shelf struct {
	config  ShelfConfig
	making  chan struct{}               // has room for the one that makes a copy
	sums    checkpoint.Sums             // of the last copy; whoever makes one has them
	doubted atomic.Bool                 // a disk may have changed what sums know
	worked  atomic.Int64                // bytes that whoever makes one has gone through, ever
	writing atomic.Pointer[copies.Part] // what is being written, which is not counted in worked yet

	mu     sync.Mutex
	copies map[string]*shelved
	now    making          // of what is being made
	forgot int             // how often what was here was forgotten
	left   map[string]bool // directories of copies that are given to nobody and could not be removed
}

// shelved is a copy that somebody takes or may come back for.
type shelved struct {
	id       string
	region   string // the other one that it was made for, "" if none
	dir      string
	index    uint64 // of the state
	epoch    timeline.Epoch
	position contract.Position
	reigns   []timeline.Reign // the history up to there
	manifest *checkpoint.Manifest
	users    int
	idle     time.Time // since when nobody takes it
	given    bool      // somebody began to take it, or it is of no use
	gone     bool      // the state is another one now: nobody gets more of it
	doubted  bool      // a receiver got something else than was summed: nobody begins to take it any more
}

// NewShelf returns an empty shelf.
func NewShelf(c ShelfConfig) *Shelf {
	s := &Shelf{config: c, making: make(chan struct{}, 1), copies: map[string]*shelved{}, left: map[string]bool{}}
	s.sums.Look = c.Look
	return s
}

// Serve is the transport's handler of Service.
func (s *Shelf) Serve(ctx context.Context, stream transport.Stream) error {
	return s.serve(ctx, stream, true)
}

// ServeElder is the transport's handler of ServiceElder.
func (s *Shelf) ServeElder(ctx context.Context, stream transport.Stream) error {
	return s.serve(ctx, stream, false)
}

func (s *Shelf) serve(ctx context.Context, stream transport.Stream, works bool) error {
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
	l := checkpoint.Line{Stream: stream, Clock: s.config.Clock, Works: works}
	if r.ID != "" {
		return s.config.Staging.send(ctx, l, r.ID)
	}
	taken, err := s.take(ctx, &l, &r)
	if err != nil {
		return err
	}
	defer s.release(taken)
	s.config.Logger.Info("sends its state", "to", r.Region, "copy", taken.id, "bytes", taken.manifest.Bytes())
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	l.Stream = &watched{Stream: stream, shelf: s, region: r.Region, copy: taken, ctx: ctx, end: end}
	return s.doubts(taken, checkpoint.Send(ctx, l, s.config.FS, taken.dir, taken.manifest))
}

// take returns a copy that fits the request, an earlier one that is still good or a new one. While that is made whoever
// asks hears that this node works: to sum a large state takes longer than anybody waits for a word. A copy whose asker
// is gone by then is kept for him: he could not wait, or lost the connection, and would have it made for ever.
func (s *Shelf) take(ctx context.Context, l *checkpoint.Line, r *Request) (*shelved, error) {
	s.mu.Lock()
	forgot := s.forgot
	s.mu.Unlock()
	if err := s.check(r); err != nil {
		return nil, err
	}
	if c := s.earlier(r); c != nil {
		return c, nil
	}
	began := s.gone()
	if err := l.Work(ctx, 0); err != nil {
		return nil, err
	}
	type outcome struct {
		copy *shelved
		err  error
	}
	made := make(chan outcome)
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	if !s.config.Life.Try(func(life context.Context) {
		c, err := s.provide(life, ctx, r, forgot)
		select {
		case made <- outcome{c, err}:
		case <-ctx.Done():
			if c != nil {
				s.release(c)
			}
		}
	}) {
		return nil, s.config.Life.Failure()
	}
	ticker := s.config.Clock.NewTicker(tellEvery)
	defer ticker.Stop()
	for last := began; ; {
		select {
		case o := <-made:
			return o.copy, o.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ticker.C():
		}
		if err := s.bars(r.Region); err != nil {
			return nil, err
		}
		if now := s.gone(); now != last { // else it hangs, and says nothing
			last = now
			if err := l.Work(ctx, now-began); err != nil {
				return nil, err
			}
		}
	}
}

// provide makes a copy for a request, unless somebody else had one made meanwhile that fits. Log is kept behind a copy
// for another region from before it is made: a copy from which no log leads on is of no use to it. Nothing comes of it
// if what is here was forgotten more often by then than forgot says.
func (s *Shelf) provide(life, asker context.Context, r *Request, forgot int) (*shelved, error) {
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-asker.Done():
		return nil, context.Cause(asker)
	case <-life.Done():
		return nil, context.Cause(life)
	}
	if c := s.earlier(r); c != nil {
		return c, nil
	}
	foreign := r.Region != s.config.Region
	if foreign {
		s.tell(r.Region, 0)
	}
	s.makes(r.Region, 0)
	defer s.makes("", 0)
	made, err := s.make(life, r.Region)
	if err != nil {
		return nil, s.finds(fmt.Errorf("copy state: %w", err))
	}
	if err := s.bars(r.Region); err != nil {
		s.discard(made.dir)
		return nil, err
	}
	if foreign {
		s.tell(r.Region, made.position)
		made.region = r.Region
	}
	s.removeIdle(func(c *shelved) bool { return foreign && c.region == made.region })
	if !s.shelve(made, forgot) {
		s.discard(made.dir)
		return nil, errUnfit
	}
	return made, nil
}

// shelve puts a copy on the shelf, unless it is of what was forgotten since.
func (s *Shelf) shelve(c *shelved, forgot int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgot == forgot {
		s.copies[c.id] = c
	}
	return s.forgot == forgot
}

// tell has log kept for a region. Where it cannot be the copy is given nevertheless: another node may have the log.
func (s *Shelf) tell(region string, p contract.Position) {
	if err := s.config.Copying(region, p); err != nil {
		s.config.Logger.Warn("the log behind a copy is not kept here", "to", region, "position", p, "err", err)
	}
}

// earlier returns the copy of which the request says that a part is there, or one that waits for its asker; nil if
// there is none that fits, or it is of no use any more.
func (s *Shelf) earlier(r *Request) *shelved {
	s.mu.Lock()
	c := s.copies[r.Have]
	if c == nil || !s.fits(c, r) {
		c = s.waiting(r)
	}
	if c == nil {
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
		s.spend(c)
		s.release(c)
		return nil
	}
	return c
}

var errUnfit = fmt.Errorf(
	"%w: this node holds something else than its region or is being rebuilt, and gives no copies", contract.ErrNotReady)

// gives says why a region is given no more of a copy.
func (s *Shelf) gives(c *shelved, region string) error {
	s.mu.Lock()
	gone := c.gone
	s.mu.Unlock()
	if gone || s.config.Unfit() {
		return errUnfit
	}
	if err := s.parted(c, region); err != nil {
		return err
	}
	return s.bars(region)
}

// parted says why a copy is of no use to another region any more: it has what is no part of the history here, since
// this region went over to another one. Its own nodes need what it gave up.
func (s *Shelf) parted(c *shelved, region string) error {
	if region == s.config.Region {
		return nil
	}
	now := s.config.Applied.State()
	relation, shared := timeline.Compare(c.reigns, now.Reigns, c.position, now.Cursor.Position)
	if now.Diverged != nil && now.Diverged.Fork < c.position {
		relation, shared = timeline.Forked, min(shared, now.Diverged.Fork)
	}
	if relation != timeline.Forked { // what is applied here may be told a little later than it is copied
		return nil
	}
	return fmt.Errorf("%w: the copy is of position %d, and the history of region %s shares what is up to %d",
		contract.ErrDiverged, c.position, s.config.Region, shared)
}

// bars says why a region is given no copy. It is asked as long as one is made or taken: a region may leave the fleet.
func (s *Shelf) bars(region string) error {
	if region == "" || region == s.config.Region {
		return nil
	}
	return s.config.Bars(region)
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

// waiting returns the newest copy that was made for the region that asks and that nobody has come to take, nil if there
// is none that fits. What the region may have is given only to who names it: else no log leads on from that. s.mu is
// held.
func (s *Shelf) waiting(r *Request) (newest *shelved) {
	region := r.Region
	if region == s.config.Region {
		region = ""
	}
	for _, c := range s.copies {
		if c.region == region && !c.given && s.fits(c, r) && (newest == nil || c.index > newest.index) {
			newest = c
		}
	}
	return newest
}

// fits reports whether a copy may be given for a request, and is far enough.
func (s *Shelf) fits(c *shelved, r *Request) bool {
	return !c.gone && !c.doubted && c.index >= r.MinIndex && c.epoch >= r.MinEpoch && s.parted(c, r.Region) == nil
}

// check says why no copy can be given for a request.
func (s *Shelf) check(r *Request) error {
	if s.config.Unfit() {
		return errUnfit
	}
	if err := s.bars(r.Region); err != nil {
		return err
	}
	if awaits := s.config.Staging.Awaits(); awaits != "" {
		return fmt.Errorf("%w: this node %s, and can give no copy of its own", contract.ErrNotReady, awaits)
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

// make makes a copy for a region. It ends with the node, but for what its disk takes for one step.
func (s *Shelf) make(ctx context.Context, region string) (*shelved, error) {
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
		s.writing.Store(held.Part)
		err = held.Write()
		s.writing.Store(nil)
		s.through(held.Written())
	}
	var m *checkpoint.Manifest
	if err == nil {
		s.makes(region, held.Written()+checkpoint.Size(s.config.FS, dir))
		m, err = s.describe(ctx, dir, id, held)
	}
	if err != nil {
		return nil, errors.Join(err, s.removeDir(dir))
	}
	meta := held.Metadata()
	return &shelved{
		id: name, dir: dir, index: meta.AppliedIndex, epoch: meta.Epoch, position: meta.Position,
		reigns: held.Origin.Reigns, manifest: m, users: 1,
	}, nil
}

// gone returns how many bytes whoever makes copies has gone through: one gets on as long as that grows.
func (s *Shelf) gone() int64 {
	if p := s.writing.Load(); p != nil {
		return s.worked.Load() + p.Written()
	}
	return s.worked.Load()
}

// through notes that whoever makes a copy has gone through so many further bytes.
func (s *Shelf) through(bytes int64) { s.worked.Add(bytes) }

// spend has a copy given to nobody any more who does not name it.
func (s *Shelf) spend(c *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.given = true
}

// release says that somebody takes a copy no longer.
func (s *Shelf) release(c *shelved) {
	s.mu.Lock()
	c.users--
	c.idle = s.config.Clock.Now()
	s.mu.Unlock()
	s.removeIdle(func(c *shelved) bool { return c.gone || c.doubted })
}
