package archive

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// batchBytes bounds what is handed to the store at once. A larger frame goes alone.
const batchBytes = 4 << 20

// applier applies a history to a store as a node does.
type applier struct {
	store  *kv.Store
	target Target
	on     bool // the place of the store was found on the branch
	done   bool // the target is reached
	ends   bool // nothing counts behind last
	last   replication.Position

	state timeline.State // what the metadata has beside the cursor
	base  replication.Metadata
	at    timeline.Cursor // with what is gathered

	folder *timeline.Folder
	batch  replication.Batch
	bytes  int
}

// newApplier begins with the place of which the content of s is.
func newApplier(s *kv.Store, target Target) (*applier, error) {
	a := &applier{store: s, target: target, folder: timeline.NewFolder()}
	if last := target.last(); last > 0 {
		a.upTo(last)
	}
	m, err := s.Load()
	if err != nil {
		return nil, err
	}
	if m != nil {
		a.base, a.at = *m, timeline.Cursor{Epoch: m.Epoch, Position: m.Position, Chain: m.Chain}
		state, err := timeline.DecodeRecord(m.Record, a.at)
		if err != nil {
			return nil, err
		}
		a.state = timeline.State{
			Region: state.Region, Reigns: state.Reigns, Yielded: state.Yielded, Commands: state.Commands,
		}
	}
	return a, nil
}

// segment applies what follows the place of the store, up to the target.
func (a *applier) segment(ctx context.Context, s *Segment) error {
	w := newWalk(s.From)
	a.on = a.on || w.at == a.at
	passing := w.at != a.at
	for _, p := range s.Payloads {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if a.on && a.done {
			return nil
		}
		f, r, err := w.next(p)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrBroken, err)
		case passing:
			passing = w.at != a.at
			a.on = a.on || !passing
		case r != nil:
			err = a.begin(r)
		default:
			err = a.frame(f)
		}
		if err != nil {
			return err
		}
	}
	if passing {
		return a.astray()
	}
	return nil
}

// astray says that the content is of another history than that of the branch.
func (a *applier) astray() error { return errAstray(a.at) }

// begin begins an epoch. It may be one that begins behind the last position that counts: it belongs to what follows.
func (a *applier) begin(r *timeline.Reign) error {
	if a.full(); a.done {
		return nil
	}
	if err := a.flush(); err != nil || a.done {
		return err
	}
	a.at.Chain, a.at.Epoch = a.folder.Reign(a.at.Chain, *r), r.Epoch
	a.state.Reigns = append(a.state.Reigns, *r)
	m, err := a.metadata()
	if err == nil {
		err = a.store.Begin(*r, m)
	}
	if err != nil {
		return fmt.Errorf("begin epoch %d: %w", r.Epoch, err)
	}
	return a.look()
}

// upTo has nothing count behind a position, which may be zero.
func (a *applier) upTo(p replication.Position) { a.ends, a.last = true, p }

// full ends it where all has come that counts by its place.
func (a *applier) full() {
	if c := a.target.Cursor; c != (timeline.Cursor{}) {
		a.done = a.done || a.at == c
		return
	}
	a.done = a.done || a.ends && a.at.Position >= a.last
}

// frame applies the commands of a frame that count.
func (a *applier) frame(f *timeline.Frame) error {
	a.state.Commands = max(a.state.Commands, f.Level)
	for commands := f.Commands; len(commands) > 0 && !a.done; {
		n := len(commands)
		if a.ends {
			if n = int(min(uint64(n), uint64(a.last-a.at.Position))); n == 0 {
				return fmt.Errorf("%w: the branch has position %d, with another history", ErrMissing, a.last)
			}
		}
		if a.target.Revision > 0 {
			if left := a.left(); left < n && len(a.batch.Commands) > 0 {
				if err := a.flush(); err != nil {
					return err
				}
				continue
			} else {
				n = min(n, left) // what each command does does not depend on what comes behind it
			}
		}
		if err := a.gather(commands[:n]); err != nil {
			return err
		}
		commands = commands[n:]
	}
	return nil
}

// left returns how many more commands there may be before the revision can be reached: each makes one at most.
func (a *applier) left() int {
	return int(min(a.target.Revision-a.store.Revision()-int64(len(a.batch.Commands)), 1<<30))
}

// gather adds commands that go together to what is handed to the store.
func (a *applier) gather(commands []timeline.Command) error {
	b := &a.batch
	if len(b.Commands) == 0 {
		b.Epoch, b.First = a.at.Epoch, a.at.Position+1
	} else {
		b.Cuts = append(b.Cuts, replication.Cut{
			Commands: len(b.Commands), Index: a.base.AppliedIndex, Term: a.base.AppliedTerm, Chain: a.at.Chain,
		})
	}
	for _, c := range commands {
		a.at.Chain = a.folder.Command(a.at.Chain, c.Data)
		a.at.Position++
		a.bytes += len(c.Data)
		b.Commands = append(b.Commands, c)
	}
	a.full()
	if a.done || a.bytes >= batchBytes || a.target.Revision > 0 && a.left() <= 0 {
		return a.flush()
	}
	return nil
}

// flush hands what was gathered to the store.
func (a *applier) flush() (err error) {
	b := &a.batch
	if len(b.Commands) == 0 {
		return nil
	}
	if b.Metadata, err = a.metadata(); err != nil {
		return err
	}
	if _, err := a.store.Apply(b); err != nil {
		return err
	}
	clear(b.Commands)
	a.batch, a.bytes = replication.Batch{Commands: b.Commands[:0], Cuts: b.Cuts[:0]}, 0
	return a.look()
}

// look ends it where the target is reached. Error: there is no such revision.
func (a *applier) look() error {
	a.full()
	if t, now := a.target.Revision, a.store.Revision(); t > 0 && now >= t {
		if a.done = true; now > t {
			return fmt.Errorf("%w: there is no revision %d: a forced failover made the next one %d", ErrMissing, t, now)
		}
	}
	return nil
}

// metadata is that of the place that was come to.
func (a *applier) metadata() (*replication.Metadata, error) {
	a.state.Cursor = a.at
	record, err := a.state.EncodeRecord()
	if err != nil {
		return nil, err
	}
	return &replication.Metadata{
		AppliedIndex: a.base.AppliedIndex, AppliedTerm: a.base.AppliedTerm,
		Epoch: a.at.Epoch, Position: a.at.Position, Chain: a.at.Chain, Record: record,
	}, nil
}
