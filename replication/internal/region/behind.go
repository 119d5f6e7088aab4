package region

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// progress is a state, and the last entry that led to it.
type progress struct {
	machine *timeline.Machine
	index   uint64
	term    uint64
}

func (p *progress) advance(e *raftpb.Entry) { p.index, p.term = e.GetIndex(), e.GetTerm() }

// behind is what the storage has of a region that shows its history late: the log is decided on at once, and handed to
// the storage when the region shows it. What the storage says of itself is this place, so that a start begins with it
// and the log is kept from there on.
type behind struct {
	progress
	a     *Applier
	waits timeline.Position              // the last one of the entry that is to be shown next; zero: not looked at
	confs map[uint64]timeline.Membership // changes of the configuration that it comes to, by their entries
}

// readBytes is how much of the log is read at once to be shown.
const readBytes = 1 << 20

// inStorage is the place that the storage has, once what was gathered is flushed.
func (a *Applier) inStorage() *progress {
	if a.behind != nil {
		return &a.behind.progress
	}
	return &a.progress
}

// late returns what is behind from here on, where the state says that the region shows its history late; nil where it
// does not.
func late(a *Applier) *behind {
	s := a.machine.State()
	if s.Delay == nil {
		return nil
	}
	return &behind{
		progress: progress{timeline.NewMachine(&s), a.index, a.term}, a: a,
		confs: map[uint64]timeline.Membership{},
	}
}

// show hands to the storage what the region shows by now and the storage has not.
func (b *behind) show() error {
	if b == nil {
		return nil
	}
	a := b.a
	d := a.machine.State().Delay
	if err := b.bring(d, a.index); err != nil {
		return err
	}
	if d == nil {
		a.behind, a.receipts = nil, nil
	}
	_, err := a.saveAll()
	return err
}

// bring hands to the storage what d does not hide, up to an entry.
func (b *behind) bring(d *timeline.Delay, upTo uint64) error {
	for b.index < upTo && (d == nil || b.waits <= d.Shown) {
		entries, err := b.a.config.Log.Entries(b.index+1, upTo+1, readBytes)
		if err != nil {
			return fmt.Errorf("read what is to be shown from entry %d: %w", b.index+1, err)
		}
		for _, e := range entries {
			if b.waits = hidden(d, b.machine.Cursor(), e); b.waits != 0 {
				return b.a.flush()
			}
			if err := b.pass(e); err != nil {
				return fmt.Errorf("show entry %d: %w", e.GetIndex(), err)
			}
		}
	}
	return b.a.flush()
}

// hidden returns the last position of an entry that continues the history at c and is not to be shown, zero for any
// other.
func hidden(d *timeline.Delay, c timeline.Cursor, e *raftpb.Entry) timeline.Position {
	if e.GetType() != raftpb.EntryNormal {
		return 0
	}
	h, ok := timeline.ReadHeader(e.GetData())
	if !ok || h.First != c.Position+1 || !d.Hides(h) || h.Kind == timeline.KindFrame && h.Epoch != c.Epoch {
		return 0
	}
	return h.Last()
}

// pass takes one entry, which the state in front has taken before, to the place of the storage.
func (b *behind) pass(e *raftpb.Entry) error {
	if e.GetType() != raftpb.EntryNormal {
		return b.passOther(e, b.configure)
	}
	kind, err := timeline.KindOf(e.GetData())
	if err != nil {
		return err
	}
	switch kind {
	case timeline.KindFrame:
		return b.passFrame(e)
	case timeline.KindReign:
		return b.passOther(e, b.begin)
	case timeline.KindControl:
		return b.passOther(e, b.control)
	default:
		b.advance(e)
		return nil
	}
}

func (b *behind) passFrame(e *raftpb.Entry) error {
	f := &b.a.run.frame
	if err := timeline.DecodeFrame(e.GetData(), f); err != nil {
		return err
	}
	outcome, _, err := b.machine.Frame(f)
	b.advance(e)
	if err != nil || outcome != timeline.Applied {
		return err
	}
	return b.a.gather(e, f, untold)
}

// passOther takes what is no frame: what was gathered before it comes first.
func (b *behind) passOther(e *raftpb.Entry, take func(*raftpb.Entry) error) error {
	if err := b.a.flush(); err != nil {
		return err
	}
	b.advance(e)
	return take(e)
}

func (b *behind) configure(e *raftpb.Entry) error {
	change, ok := b.confs[e.GetIndex()]
	if !ok {
		return fmt.Errorf("%w: configuration change %d was not seen", timeline.ErrFormat, e.GetIndex())
	}
	delete(b.confs, e.GetIndex())
	b.machine.Configure(change)
	return nil
}

func (b *behind) begin(e *raftpb.Entry) error {
	r, err := timeline.DecodeReign(e.GetData())
	if err != nil {
		return err
	}
	outcome, _, err := b.machine.Reign(r)
	if err != nil || outcome != timeline.Applied {
		return err
	}
	return b.a.beginStored(r)
}

// control takes what the state in front has taken. Behind what replaced that one there is nothing to pass.
func (b *behind) control(e *raftpb.Entry) error {
	c, err := timeline.DecodeControl(e.GetData())
	if err != nil {
		return err
	}
	outcome, _, err := b.machine.Control(c)
	if err == nil && outcome == timeline.Applied && (c.Op == timeline.OpInstall || c.Op == timeline.OpCut) {
		err = fmt.Errorf("%w: the state that it replaced is still here", timeline.ErrFormat)
	}
	return err
}

// cut has the storage at the place where the region's history ends now, and no further: the state in front is there.
// The last frame may end within, so that the batch that has the part of it also has the state behind the cut (invariant
// 5): a start finds all of it or nothing.
func (b *behind) cut(to timeline.Cursor) error {
	a := b.a
	if err := a.machine.Rebase(a.index); err != nil {
		return err
	}
	part, err := b.end(to, a.index-1)
	if err != nil {
		return err
	}
	a.receipts, a.behind = a.receipts.upTo(to.Position), late(a)
	a.config.Log.Rebase(a.index, to.Position)
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	last := &contract.Batch{Epoch: to.Epoch, First: to.Position + 1, Metadata: meta}
	if n := len(part.Commands); n > 0 {
		last.First, last.Commands = part.First, part.Commands
	}
	if _, err := a.config.Storage.Apply(last); err != nil {
		return fmt.Errorf("%w: end at position %d: %w", copies.ErrStorage, to.Position, err)
	}
	a.saved.Store(a.index)
	return nil
}

// end brings the storage to the last whole entry before to, by entries up to upTo, and returns the part of the next
// frame that leads to it.
func (b *behind) end(to timeline.Cursor, upTo uint64) (part timeline.Frame, err error) {
	b.waits = 0
	if err := b.bring(&timeline.Delay{Shown: to.Position}, upTo); err != nil {
		return part, err
	}
	at := b.machine.Cursor()
	if at.Position < to.Position {
		entries, err := b.a.config.Log.Entries(b.index+1, b.index+2, 1)
		if err != nil {
			return part, fmt.Errorf("read entry %d, in which the history is cut: %w", b.index+1, err)
		}
		if err := timeline.DecodeFrame(entries[0].GetData(), &part); err != nil {
			return part, err
		}
		part.Commands = part.Commands[:min(len(part.Commands), int(to.Position-at.Position))]
		at.Chain, at.Position = timeline.NewFolder().Frame(&part), part.Last()
	}
	if at != to {
		return part, fmt.Errorf("%w: cut at position %d of epoch %d behind chain %v, this node comes to %d of %d "+
			"behind %v", timeline.ErrChain, to.Position, to.Epoch, to.Chain, at.Position, at.Epoch, at.Chain)
	}
	return part, nil
}

// receipts are in the order of their positions.
type receipts []Received

// with returns them and one more, without those before the last one that is shown, which says of when the state is.
func (r receipts) with(one *timeline.Receipt, shown timeline.Position, bytes uint64) receipts {
	n := 0
	for n+1 < len(r) && r[n+1].Position <= shown {
		n++
	}
	if one == nil {
		return r[n:]
	}
	return append(r[n:], Received{*one, bytes})
}

// upTo returns those that are not behind p, in an array of their own.
func (r receipts) upTo(p timeline.Position) receipts {
	n := len(r)
	for n > 0 && r[n-1].Position > p {
		n--
	}
	return slices.Clone(r[:n])
}
