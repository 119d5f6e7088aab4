package region

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// adopt makes the state that meta describes this node's: one to which it did not come by applying entries. dir is the
// copy that has it; "" says that the storage has it already.
//
// A storage that has it already may have got it from a node of this process that ended before it was durable.
//
// Whatever the way to it (a start, a snapshot of Raft, the install of another region's state, or that of a node that
// missed the install), this is the only place where the state is replaced: the metadata is checked first; the storage
// then has the old state or the new one, also after a crash; and when it is done the log begins where the state does,
// readers see the state, and whoever proposed what it passed over is told.
func (a *Applier) adopt(dir string, meta *contract.Metadata) error {
	state, err := a.check(meta)
	if err != nil {
		return err
	}
	if dir != "" {
		a.applied.Replaces(meta.Position, timeline.Latest(state.Reigns))
		torn := false // by an attempt for which there was no room: the next one may fail before it changes anything
		replace := func() error {
			err := a.config.replace(a.syncs, dir, meta)
			if torn = torn || errors.Is(err, ErrTorn); torn && err != nil && !errors.Is(err, ErrTorn) {
				err = fmt.Errorf("%w: %v", ErrTorn, err) // that the copy is damaged says nothing of what is here
			}
			return err
		}
		if err := a.patient.through(replace); err != nil {
			return err
		}
	} else if err := a.config.settleFound(a.syncs, meta, state.Base); err != nil {
		return err
	}
	a.progress = progress{timeline.NewMachine(state), meta.AppliedIndex, meta.AppliedTerm}
	a.saved.Store(meta.AppliedIndex)
	a.receipts, a.behind = nil, late(a)
	a.rebase(meta, state.Base)
	a.publish()
	a.config.Proposers.Overtaken()
	return nil
}

// check returns the state that meta describes, if it may take the place of the one that is here.
func (a *Applier) check(meta *contract.Metadata) (*timeline.State, error) {
	if meta.AppliedIndex < a.index {
		return nil, fmt.Errorf("%w: state at entry %d, this node is at %d", contract.ErrIdentity, meta.AppliedIndex,
			a.index)
	}
	return a.config.decode(meta)
}

// decode returns the state of this region that meta describes.
func (c *Config) decode(meta *contract.Metadata) (*timeline.State, error) {
	at := timeline.Cursor{Epoch: meta.Epoch, Position: meta.Position, Chain: meta.Chain}
	state, err := timeline.DecodeRecord(meta.Record, at)
	if err == nil {
		err = c.understands(state.Level())
	}
	if err == nil && state.Region != c.Region {
		err = fmt.Errorf("%w: state of region %s, this is %s", contract.ErrIdentity, state.Region, c.Region)
	}
	if err != nil {
		return nil, err
	}
	return state, nil
}

// replace puts the copy in dir in the storage's place, and keeps it if the storage cannot by itself. On an error that
// is not ErrTorn the storage has what it had.
func (c *Config) replace(syncs *syncs, dir string, meta *contract.Metadata) error {
	if err := c.Maker.Restore(dir, meta); errors.Is(err, contract.ErrDamaged) {
		return fmt.Errorf("storage: install: %w", err) // it has what it had
	} else if err != nil {
		return fmt.Errorf("%w: install: %w", ErrTorn, err)
	}
	if err := c.settle(syncs, meta); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return nil
}

// settle has the state that meta describes, which the storage has, be durable before the log begins behind it: it keeps
// it if the storage cannot by itself.
func (c *Config) settle(syncs *syncs, meta *contract.Metadata) error {
	return c.synced(syncs.Sync(), meta)
}

// synced is what remains of settle when the storage was asked to sync, with what came of that.
func (c *Config) synced(err error, meta *contract.Metadata) error {
	if err != nil && !errors.Is(err, contract.ErrVolatile) {
		return fmt.Errorf("%w: sync: %w", copies.ErrStorage, err)
	}
	if err == nil || c.Keeper.Kept() >= meta.AppliedIndex {
		return nil
	}
	part, err := c.Keeper.Begin(meta)
	if err == nil {
		_, err = c.Keeper.Keep(part)
	}
	if err != nil {
		return fmt.Errorf("keep installed state: %w", err)
	}
	return nil
}

// settleFound is settle of a state that the storage had, unless what is durable leads to it: what is kept, or what the
// storage keeps, by the entries behind. An entry that installed a state does not, since it is not in the log what that
// was.
func (c *Config) settleFound(syncs *syncs, meta *contract.Metadata, base timeline.Base) error {
	leads := c.leadsTo(meta)
	if leads && c.Keeper.Kept() >= base.Index {
		return nil
	}
	err := syncs.Sync()
	if leads && durable.Full(err) {
		return nil // an install is durable there by itself, and what makes room is written to a node that runs
	}
	return c.synced(err, meta)
}

// leadsTo reports whether the log leads to the state that meta describes. If it does not, it is to begin behind that.
func (c *Config) leadsTo(meta *contract.Metadata) bool {
	term, err := c.Log.Term(meta.AppliedIndex)
	return err == nil && term == meta.AppliedTerm
}

// rebase tells the log where its history begins: behind the entry that installed the state, as far as the log leads
// from there to the state. Otherwise, or if the log knows of no position, it begins behind the state.
func (a *Applier) rebase(meta *contract.Metadata, base timeline.Base) {
	log := a.config.Log
	if a.config.leadsTo(meta) {
		log.Rebase(base.Index, base.Position)
		if _, known := log.FirstPosition(); known {
			return
		}
	}
	log.Rebase(meta.AppliedIndex, meta.Position)
}

// Load begins with the region's state as the storage or its keeper has it, or else with first, which it returns as not
// found.
func (a *Applier) Load(first *timeline.State) (found bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.patient.loaded = err == nil }()
	dir, meta, err := a.stored()
	if err != nil {
		return false, err
	}
	if meta == nil {
		a.machine = timeline.NewMachine(first)
		a.behind = late(a)
		a.publish()
		return false, nil
	}
	if err := a.adopt(dir, meta); err != nil {
		return false, fmt.Errorf("load state: %w", err)
	}
	a.handed = a.index
	a.config.decided(&timeline.State{Region: a.config.Region}, a.machine.State(), timeline.Learned)
	return true, nil
}

// stored returns what describes the state that this node had before; nil if it had none. dir is the copy that has it,
// "" if the storage does.
func (a *Applier) stored() (dir string, meta *contract.Metadata, err error) {
	meta, err = a.config.Storage.Load()
	if err != nil {
		return "", nil, fmt.Errorf("%w: load: %w", copies.ErrStorage, err)
	}
	newest, err := a.config.Keeper.Newest()
	if err != nil {
		return "", nil, fmt.Errorf("find kept state: %w", err)
	}
	if meta != nil || newest == "" {
		return "", meta, nil
	}
	if meta, err = a.config.Maker.Metadata(newest); err != nil {
		return "", nil, fmt.Errorf("kept state %s: %w", newest, err)
	}
	return newest, meta, nil
}

// Install implements raftgroup.Machine: the state of another node of this region takes the place of this one's.
func (a *Applier) Install(dir string) (index, term uint64, conf *raftpb.ConfState, err error) {
	a.mu.Lock()
	err = inTurn(a, func() (err error) {
		index, term, conf, err = takeReceived(a, dir)
		return err
	})
	return index, term, conf, err
}

func takeReceived(a *Applier, dir string) (index, term uint64, conf *raftpb.ConfState, err error) {
	meta, err := a.config.Maker.Metadata(dir)
	if errors.Is(err, contract.ErrMetadata) || errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil, spoiledWord(err)
	}
	if err == nil && a.handed < meta.AppliedIndex && meta.AppliedIndex < a.index {
		return a.passOver(meta)
	}
	if err == nil {
		err = a.saveBeforeState(context.Background(), meta)
	}
	before := a.machine.State()
	if err == nil {
		if err = a.adopt(dir, meta); spoils(err) {
			err = spoiledWord(err)
		}
	}
	if err != nil {
		err = fmt.Errorf("received state: %w", err)
	}
	if errors.Is(err, ErrTorn) {
		return 0, 0, nil, fail(a, err)
	}
	if err != nil {
		return 0, 0, nil, err
	}
	a.handed = a.index
	a.config.decided(&before, a.machine.State(), timeline.Learned)
	s := a.machine.State()
	conf, err = confOf(&s)
	return a.index, a.term, conf, err
}

// spoiledWord is what Raft hears of a state that it brought, and that is damaged. It keeps why as a text alone: whoever
// is told must not take it for damage of this node's directory.
func spoiledWord(why error) error { return fmt.Errorf("%w: %v", raftgroup.ErrSpoiled, why) }

// Inspect implements raftgroup.Machine.
func (a *Applier) Inspect(dir string) (index, term uint64, conf *raftpb.ConfState, err error) {
	meta, err := a.config.Maker.Metadata(dir)
	if err != nil {
		return 0, 0, nil, err
	}
	state, err := a.config.decode(meta)
	if err != nil {
		return 0, 0, nil, err
	}
	conf, err = confOf(state)
	return meta.AppliedIndex, meta.AppliedTerm, conf, err
}

// saveBeforeState saves what this node has and the state that meta describes has not: its region gave that up while the
// node was away, and others have saved it, but they may be lost. From where on it did, the region knew better than the
// reigns and positions tell here.
func (a *Applier) saveBeforeState(ctx context.Context, meta *contract.Metadata) error {
	state, err := a.check(meta)
	if err != nil {
		return err
	}
	s := a.machine.State()
	relation, fork := timeline.Compare(s.Reigns, state.Reigns, s.Cursor.Position, state.Cursor.Position)
	least, missed := state.GaveUp(a.index)
	switch {
	case missed && least < s.Cursor.Position:
		fork = min(fork, least)
	case relation == timeline.Prefix:
		return nil
	}
	return a.saveFrom(ctx, fork, timeline.Latest(state.Reigns), a.index+1)
}

// passOver takes a state that the one here contains: a node that took the state of another for an install may be
// further than what Raft has for it. Raft goes on behind what it brought; its entries up to here are passed over too.
func (a *Applier) passOver(meta *contract.Metadata) (index, term uint64, conf *raftpb.ConfState, err error) {
	state, err := a.config.decode(meta)
	if err == nil {
		conf, err = confOf(state)
	}
	if err != nil {
		return 0, 0, nil, fmt.Errorf("received state: %w", err)
	}
	a.handed = meta.AppliedIndex
	a.config.Logger.Info("passed over a state that is contained in the one here", "index", meta.AppliedIndex,
		"applied", a.index)
	return meta.AppliedIndex, meta.AppliedTerm, conf, nil
}

// install replaces the state by the copy that the region agreed on. A node that has not staged it takes the state of a
// node of its region that has installed it. That may be further than the entry; what it contains is then passed over.
func (a *Applier) install(c *timeline.Control) error {
	if err := a.machine.Rebase(a.index); err != nil {
		return err
	}
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	id, staging := c.Checkpoint, a.config.Staging
	dir, err := staging.Dir(id)
	if err != nil {
		a.config.Logger.Info("copy to install is not here; takes the state of another node", "copy", id, "err", err)
		if id, dir, meta, err = a.fetchOwn(); err != nil {
			return fmt.Errorf("take the state of another node: %w", err)
		}
	}
	for err = a.adopt(dir, meta); spoils(err); {
		a.config.Logger.Warn("copy to install is damaged; takes the state of another node", "copy", id, "err", err)
		staging.Spoiled(id)
		if id, dir, meta, err = a.fetchOwn(); err != nil {
			return fmt.Errorf("take the state of another node: %w", err)
		}
		err = a.adopt(dir, meta)
	}
	if err != nil {
		return fmt.Errorf("install copy %s: %w", id, err)
	}
	staging.Discard(id)
	at := a.machine.Cursor()
	a.config.Logger.Info("installed the state of the source", "copy", id, "position", at.Position, "epoch", at.Epoch)
	return nil
}

func (a *Applier) fetchOwn() (id, dir string, meta *contract.Metadata, err error) {
	if id, err = a.config.Staging.FetchOwn(a.index); err != nil {
		return "", "", nil, err
	}
	if dir, err = a.config.Staging.Dir(id); err != nil {
		return "", "", nil, err
	}
	meta, err = a.config.Maker.Metadata(dir)
	return id, dir, meta, err
}
