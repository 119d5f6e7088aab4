package kv

import (
	"bytes"
	"cmp"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
)

// run applies the commands of one batch to a state. Nothing of it is visible to anyone before it is committed and
// published.
type run struct {
	batch *pebble.Batch
	write *mvcc.Writer // to the batch
	// indexed says that batch can be read. Scans need that; single keys are found in latest.
	indexed bool
	state   *mvcc.State // as of the last finished command
	sub     uint32      // changes made by the command under way

	base   *mvcc.Reader    // of the database without the batch
	latest map[string]head // written by this run
	heads  *headCache
	keys   *keyset.Index // of what is committed
	leases lease.Edit

	held   int64 // bytes in memory, about
	alarms mvcc.Alarms
	turned []AlarmTurn // of the alarms
	// Of the command under way.
	epoch    replication.Epoch
	position replication.Position
	auth     auth.Edit

	liveness  keyset.Flips
	rewritten []keyset.Change // the others, if keys is there to know of them
	written   watch.Written
}

// newRun begins a run on what g holds. gather is what watchers want of it.
func newRun(g *generation, leases lease.Edit, indexed bool, gather watch.Level, most bounds) (*run, error) {
	base, err := mvcc.NewReader(g.db)
	if err != nil {
		return nil, err
	}
	now := g.now.Load()
	r := &run{
		indexed: indexed, state: now.State, base: base, latest: map[string]head{}, heads: &g.heads, keys: g.keys,
		leases: leases, alarms: now.alarms, auth: now.auth.Edit(), written: watch.Written{Level: gather},
	}
	if indexed {
		r.batch = g.db.NewIndexedBatch()
	} else {
		r.batch = g.db.NewBatch()
	}
	r.write = mvcc.NewBoundedWriter(r.batch, most.batchBytes)
	return r, nil
}

// Close releases what the run holds.
func (r *run) Close() error { return cmp.Or(r.base.Close(), r.batch.Close()) }

// now is the newest revision that the command under way may see.
func (r *run) now() int64 {
	if r.sub > 0 {
		return r.state.Revision + 1
	}
	return r.state.Revision
}

// finish ends a command: its changes, if it made any, become a revision.
func (r *run) finish() {
	if r.sub > 0 {
		next := *r.state
		next.Revision++
		r.state, r.sub = &next, 0
	}
}

func (r *run) view() view {
	return view{reader: r, now: r.now(), state: r.state, keys: r.keys, own: &r.liveness, changed: len(r.latest) > 0}
}

var errNoIndex = errors.New("kv: scan in a batch without index")

// readBatch calls f with a reader of the database with the batch.
func (r *run) readBatch(f func(all *mvcc.Reader) error) error {
	if !r.indexed {
		return errNoIndex
	}
	all, err := mvcc.NewReader(r.batch)
	if err != nil {
		return err
	}
	if r.keys != nil {
		all.Skip = r.skip
	}
	return cmp.Or(f(all), all.Close())
}

// skip is what a scan asks where it finds nothing for long: what is not committed yet is in no index.
func (r *run) skip(key []byte, rev int64) (next []byte, ok bool) {
	from, ok := r.keys.Next(string(key), rev)
	if own, found := r.liveness.Next(string(key)); found && (!ok || own < from) {
		return []byte(own), true
	}
	return []byte(from), ok
}

// Newest implements reader. Revisions before the current one are found in the batch as well, which is indexed then.
func (r *run) Newest(key []byte, rev int64) (v mvcc.Version, err error) {
	if rev >= r.now() {
		return r.current(key, true)
	}
	err = r.readBatch(func(all *mvcc.Reader) error {
		v, err = all.Newest(key, rev)
		v.Detach()
		return err
	})
	return v, err
}

// Scan implements reader.
func (r *run) Scan(
	ctx context.Context, sp command.Span, rev, limit int64, visit mvcc.Visitor,
) (count int64, err error) {
	err = r.readBatch(func(all *mvcc.Reader) error {
		count, err = all.Scan(ctx, sp, rev, limit, visit)
		return err
	})
	return count, err
}

// Changed implements reader.
func (r *run) Changed(from, rev, most int64, visit func(key []byte, at mvcc.Stamp)) (whole bool, err error) {
	err = r.readBatch(func(all *mvcc.Reader) error {
		whole, err = all.Changed(from, rev, most, visit)
		return err
	})
	return whole, err
}

// current returns the newest version of key, with the changes of this run. The value may be left out if it is not
// needed.
func (r *run) current(key []byte, needValue bool) (mvcc.Version, error) {
	if h, ok := r.latest[string(key)]; ok {
		return h.Version, nil
	}
	if h, _, ok := r.heads.get(key); ok && (h.whole || !needValue) {
		return h.Version, nil
	}
	return r.base.Newest(key, r.state.Revision)
}

// replaced returns the version of key that a change is about to replace, with its value if the change or a watcher
// needs it.
func (r *run) replaced(key []byte, needValue bool) (mvcc.Version, error) {
	return r.current(key, needValue || r.written.Level == watch.EventsWithPrevious)
}

// change adds the next change of the command under way: value under key, or the deletion of key. key and value must
// stay as they are until the run is published; prev is the version that it replaces.
func (r *run) change(key []byte, prev *mvcc.Version, value []byte, leaseID int64, kind byte) error {
	v := mvcc.Version{Stamp: mvcc.Stamp{Main: r.state.Revision + 1, Sub: r.sub}, Kind: kind}
	if kind == mvcc.KindPut {
		v.Create, v.Number, v.Lease, v.Value = v.Main, 1, leaseID, value
		if prev.Exists() {
			v.Create, v.Number = prev.Create, prev.Number+1
		}
	}
	return r.record(key, prev, v)
}

// record adds a version of key, which replaces prev.
func (r *run) record(key []byte, prev *mvcc.Version, v mvcc.Version) error {
	oldLease := int64(0)
	if prev.Exists() {
		oldLease = prev.Lease
	}
	if r.written.Level > watch.Nothing {
		c := watch.Change{Key: key, Now: v}
		if r.written.Level == watch.EventsWithPrevious && prev.Exists() {
			c.Prev = prev.KeyValue(key)
			r.held += int64(len(prev.Value))
		}
		r.written.Changes = append(r.written.Changes, c)
	}
	if err := r.write.Attach(key, oldLease, v.Lease); err != nil {
		return err
	}
	r.sub++
	r.held += changeBytes + 2*int64(len(key)) + int64(len(v.Value))
	name := string(key)
	switch exists := v.Kind == mvcc.KindPut; {
	case exists != prev.Exists():
		r.liveness.Add(keyset.Change{Key: name, Revision: v.Main, Exists: exists, Flip: true})
	case r.keys != nil:
		r.rewritten = append(r.rewritten, keyset.Change{Key: name, Revision: v.Main, Exists: exists})
	}
	r.latest[name] = head{Version: v, whole: true}
	return r.write.Version(key, &v)
}

// attached returns the keys attached to a lease, in order.
func (r *run) attached(id int64) ([][]byte, error) {
	if !r.indexed {
		return nil, errNoIndex
	}
	return mvcc.AttachedKeys(r.batch, id)
}

func (r *run) grant(id, ttl int64) error {
	r.leases.Grant(id, ttl)
	return r.write.Grant(id, ttl)
}

// beginEnd notes that the end of a lease has begun. Only nodes that do so apply the command which asks for it, so that
// the few bytes are in the batch of each, and what is refused as too large is the same everywhere.
func (r *run) beginEnd(id int64) error {
	if ttl, news := r.leases.End(id); news {
		return r.write.End(id, ttl)
	}
	return nil
}

func (r *run) revoke(id int64) error {
	r.leases.Revoke(id)
	return r.write.Revoke(id)
}

// deleteKeys deletes all keys of a span that exist, and calls each with what is deleted.
func (r *run) deleteKeys(sp command.Span, each func(key []byte, v *mvcc.Version)) (int64, error) {
	if sp.Single() {
		return r.deleteOne(sp.Start, each)
	}
	type found struct {
		key []byte
		v   mvcc.Version
	}
	var doomed []found
	total := int64(0)
	keepValues := each != nil || r.written.Level == watch.EventsWithPrevious
	_, err := r.Scan(context.Background(), sp, r.now(), mvcc.NoLimit, func(key []byte, v *mvcc.Version) error {
		f := found{key: bytes.Clone(key), v: *v}
		if f.v.Value = nil; keepValues {
			f.v.Value = bytes.Clone(v.Value)
		}
		doomed = append(doomed, f)
		// What will not fit need not be gathered.
		if total += 2*int64(len(key)) + mvcc.DeleteBytes; total > r.write.Room() {
			return mvcc.ErrBatchFull
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range doomed {
		if each != nil {
			each(doomed[i].key, &doomed[i].v)
		}
		if err := r.change(doomed[i].key, &doomed[i].v, nil, 0, mvcc.KindDelete); err != nil {
			return 0, err
		}
	}
	return int64(len(doomed)), nil
}

func (r *run) deleteOne(key []byte, each func(key []byte, v *mvcc.Version)) (int64, error) {
	v, err := r.replaced(key, each != nil)
	if err != nil || !v.Exists() {
		return 0, err
	}
	if each != nil {
		each(key, &v)
	}
	return 1, r.change(key, &v, nil, 0, mvcc.KindDelete)
}
