package transfer

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// incomingFolder is where the one part is that is on its way here.
const incomingFolder = "incoming"

// ownRetry is the pause between two rounds through the nodes of the region.
const ownRetry = time.Second

// Peers knows the other nodes of this region.
type Peers interface {
	// Others returns where to reach them.
	Others() []string
	// Everywhere returns every address that one of them may have.
	Everywhere() []string
}

// StagingConfig is what a staging place is made of. Every field but Alike and Look is required.
type StagingConfig struct {
	Region    string
	FS        durable.FS
	Dir       string // of the copies; its own
	Transport transport.Transport
	Peers     Peers
	// Alike reports whether a state is of the life of the region of which this node is, by the disks with which its
	// region was formed. Nil: each is.
	Alike func(formed map[uint64]string) bool
	// Look tells whether the files of a copy are what was written. Zero: nobody can.
	Look    checkpoint.Look
	Applied *region.Applied
	Life    *life.Life
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Staging has the copies of other states that came to this node, each a directory named by its identity. It is safe for
// concurrent use.
type Staging struct {
	config   StagingConfig
	fetching chan struct{}     // has room for the one that fetches: there is one place for what comes in
	memory   checkpoint.Memory // of the place; whoever fetches has it
	short    bool              // of the same: the rest of what is there had no room here
	stuck    bool              // of the same: what nobody needs could not be removed
	own      checkpoint.Watch  // what applying waits for
	coming   checkpoint.Watch  // what is on its way here

	mu    sync.Mutex
	terms map[string]uint64 // of each copy: the last term whose leader may propose to install it
	past  map[string]int    // how often that term was found to be over
	// useless is how often in a row a copy was found to bring nothing.
	useless  map[string]int
	unwanted unwanted
	sound    map[string]bool   // copies that this process looked through, or received
	givers   map[string]string // of the copies of this region's own state: where they came from
	spoiled  map[string]bool   // who gave a damaged one
	unread   map[string]int    // how often a copy could not be read here
}

// NewStaging returns the place for what is in its directory and what comes.
func NewStaging(c StagingConfig) *Staging {
	return &Staging{config: c, fetching: make(chan struct{}, 1), terms: map[string]uint64{}, past: map[string]int{},
		useless: map[string]int{}, sound: map[string]bool{}, givers: map[string]string{},
		spoiled: map[string]bool{}, unread: map[string]int{}}
}

// Register registers the answers to what other nodes ask. present returns the term that this node is in.
func (s *Staging) Register(r *peer.Registry, present func() uint64) {
	peer.Handle(r, AskStage, peer.RegionNode, func(ctx context.Context, in StageRequest) (peer.Nothing, error) {
		return peer.Nothing{}, s.stage(ctx, in, present())
	})
	peer.Handle(r, AskHeld, peer.RegionNode, func(ctx context.Context, w Wanted) ([]Held, error) {
		if err := peer.MaySpeak(ctx, s.config.Region); err != nil {
			return nil, err
		}
		w.Term = max(w.Term, present())
		return s.Held(w), nil
	})
}

func (s *Staging) stage(ctx context.Context, r StageRequest, present uint64) error {
	if err := checkID(r.ID); err != nil {
		return fmt.Errorf("stage copy: %w", err)
	}
	if err := peer.MaySpeak(ctx, s.config.Region); err != nil {
		return fmt.Errorf("stage copy: %w", err)
	}
	if !slices.Contains(s.config.Peers.Everywhere(), r.From) {
		return fmt.Errorf("stage copy: %w: no node of region %s is known to be at %s", contract.ErrRejected,
			s.config.Region, r.From)
	}
	s.Keep(r.ID, max(r.Term, present))
	if err := s.Sound(ctx, r.ID, nil); err == nil {
		return nil
	}
	id, _, err := s.Fetch(ctx, r.From, Request{Region: s.config.Region, ID: r.ID}, nil)
	if err == nil && id != r.ID {
		err = fmt.Errorf("%w: got copy %s, asked for %s", contract.ErrMessage, id, r.ID)
	}
	if err != nil {
		return fmt.Errorf("stage copy: %w", err)
	}
	return nil
}

// Dir implements region.Staging. The identity may come from another node.
func (s *Staging) Dir(id string) (string, error) {
	if err := checkID(id); err != nil {
		return "", err
	}
	dir := s.dir(id)
	if _, err := checkpoint.Load(s.config.FS, dir); err != nil {
		return "", err
	}
	return dir, nil
}

func (s *Staging) dir(id string) string { return filepath.Join(s.config.Dir, id) }

// Keep says that the leader of term may propose to install a copy.
func (s *Staging) Keep(id string, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.useless, id)
	if term > s.terms[id] {
		s.terms[id] = term
		delete(s.past, id)
	}
}

// Discard implements region.Staging. What cannot be removed now, or may come back by a power cut, Tidy tries again,
// unless somebody asks for it.
func (s *Staging) Discard(id string) {
	dir := s.dir(id)
	err := checkpoint.Remove(s.config.FS, dir)
	if err != nil {
		s.config.Logger.Warn("staged copy not removed; it is tried again", "dir", dir, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id)
	if err != nil {
		s.terms[id] = 0 // of no leader
	}
}

// forget forgets what is known of a copy. mu is held.
func (s *Staging) forget(id string) {
	delete(s.terms, id)
	delete(s.past, id)
	delete(s.useless, id)
	delete(s.sound, id)
	delete(s.unread, id)
	if s.givers[id] != "" { // what it was for is done
		clear(s.spoiled)
	}
	delete(s.givers, id)
}

// Spoiled implements region.Staging.
func (s *Staging) Spoiled(id string) {
	s.mu.Lock()
	if giver := s.givers[id]; giver != "" {
		s.spoiled[giver] = true
	}
	delete(s.givers, id)
	s.mu.Unlock()
	s.Discard(id)
}

// unspoiledFirst returns the others with those first who gave no damaged copy: who did may be another node by now. good
// is how many of them did not; if none is left, all may be asked again from then on.
func (s *Staging) unspoiledFirst(others []string) (ordered []string, good int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var spoiled []string
	for _, addr := range others {
		if s.spoiled[addr] {
			spoiled = append(spoiled, addr)
		} else {
			ordered = append(ordered, addr)
		}
	}
	if good = len(ordered); good == 0 {
		clear(s.spoiled)
	}
	return append(ordered, spoiled...), good
}

// Remake implements region.Staging. What comes from elsewhere is not made here.
func (*Staging) Remake(*timeline.State, uint64, string, *timeline.Origin) {}

// FetchOwn implements region.Staging. The copy stays until it is discarded.
func (s *Staging) FetchOwn(minIndex uint64) (string, error) {
	defer s.own.End()
	ctx := s.config.Life.Context()
	for round := 0; ; round++ {
		others := s.config.Peers.Others()
		if len(others) == 0 {
			return "", fmt.Errorf("%w: the state that this region agreed to install is not in %s any more, and no "+
				"other node of the region has it; empty the data directory, and the region takes a copy again",
				contract.ErrDamaged, s.config.Dir)
		}
		ordered, _ := s.unspoiledFirst(others)
		id, err := s.fetchFrom(ctx, ordered, minIndex, round)
		if err == nil {
			return id, nil
		}
		if err := s.config.Life.Pause(ctx, ownRetry); err != nil {
			return "", err
		}
	}
}

// FetchSibling implements region.Staging. The copy stays until it is discarded.
func (s *Staging) FetchSibling(ctx context.Context, minIndex uint64) (id string, err error) {
	defer s.own.End()
	for round := range siblingTries { // a sibling may have to apply a little more first
		others := s.config.Peers.Others()
		ordered, good := s.unspoiledFirst(others)
		if good == 0 && len(others) > 0 {
			return "", fmt.Errorf("%w: what each of the other nodes gave is damaged", contract.ErrNotReady)
		}
		if id, err = s.fetchFrom(ctx, ordered, minIndex, round); err == nil {
			return id, nil
		}
		if s.config.Life.Pause(ctx, ownRetry) != nil {
			break
		}
	}
	return "", err
}

// siblingTries is how often all siblings are asked for a copy.
const siblingTries = 3

// Awaits says what this node waits for before it applies anything more, "" if for no state of another node.
func (s *Staging) Awaits() string { return s.own.Text(s.config.Clock.Now()) }

// Transfer tells how far the copy is that is on its way here, nil if none is.
func (s *Staging) Transfer() *contract.Transfer { return s.coming.Transfer(s.config.Clock.Now()) }

// fetchFrom gets a copy of the state of one of the nodes of this region, which are asked in turn. In the first round
// nobody who is silent is waited for for long: another one may answer. Whoever is silent after that may be a node of a
// version before, which says nothing while it makes a large state.
func (s *Staging) fetchFrom(ctx context.Context, others []string, minIndex uint64, round int) (id string, err error) {
	elder := checkpoint.Silence
	if round > 0 {
		elder = checkpoint.ElderSilence
	}
	err = fmt.Errorf("%w: no other node of the region can be asked", contract.ErrNotReady)
	for _, addr := range others {
		r := Request{Region: s.config.Region, MinIndex: minIndex, Have: s.Partial()}
		s.own.Begin(addr, s.config.Clock.Now())
		own := func(_ string, d *Description) error {
			if d.Region != s.config.Region {
				return fmt.Errorf("%w: copy of region %s", contract.ErrIdentity, d.Region)
			}
			if alike := s.config.Alike; alike != nil && !alike(d.Formed) {
				return fmt.Errorf("%w: copy of another life of region %s", contract.ErrIdentity, d.Region)
			}
			return nil
		}
		id, _, err = s.fetch(ctx, addr, r, elder, own, func(p checkpoint.Progress) {
			s.own.Came(p, s.config.Clock.Now())
		})
		if err == nil {
			s.Keep(id, math.MaxUint64)
			s.mu.Lock()
			s.givers[id] = addr
			s.mu.Unlock()
			return id, nil
		}
		s.config.Logger.Info("waits for a node of the region with the installed state", "asked", addr, "err", err)
	}
	return "", err
}

// send passes on, inside the region, a copy that came here.
func (s *Staging) send(ctx context.Context, l checkpoint.Line, id string) error {
	dir, err := s.Dir(id)
	if err != nil {
		return fmt.Errorf("copy %s: %w", id, err)
	}
	m, err := checkpoint.Load(s.config.FS, dir)
	if err != nil {
		return fmt.Errorf("copy %s: %w", id, err)
	}
	return s.doubts(id, checkpoint.Send(ctx, l, s.config.FS, dir, m))
}
