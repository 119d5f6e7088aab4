package kv

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// run applies the commands of one batch to a state. Nothing of it is visible to anyone before it is committed and published.
type run struct {
	batch *pebble.Batch
	// indexed says that batch can be read. Scans need that; single keys are found in latest.
	indexed bool
	state   *state // as of the last finished command
	sub     uint32 // changes made by the command under way

	points *pebble.Iterator // over the database without the batch
	latest map[string]head  // written by this run
	heads  *headCache
	leases leaseOverlay

	turns   []turn
	collect collectLevel
	changes []change

	keyBuffer   []byte
	otherBuffer []byte
}

// turn is a key that began or ceased to exist.
type turn struct {
	key    string
	exists bool
}

// change is an event of this run, for watchers. Key, value and prev may alias the batch that is being applied.
type change struct {
	key  []byte
	now  version
	prev *mvccpb.KeyValue
}

// collectLevel is what a run gathers for watchers.
type collectLevel int

const (
	collectNothing collectLevel = iota
	collectEvents
	collectEventsWithPrevious
)

func (s *Store) newRun(g *generation, indexed bool, collect collectLevel) (*run, error) {
	points, err := g.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableKeys}, UpperBound: []byte{tableKeys + 1}})
	if err != nil {
		return nil, err
	}
	r := &run{
		indexed: indexed, state: g.state.Load(), points: points, latest: map[string]head{}, heads: &g.heads,
		leases: leaseOverlay{base: s.leases}, collect: collect,
	}
	if indexed {
		r.batch = g.db.NewIndexedBatch()
	} else {
		r.batch = g.db.NewBatch()
	}
	return r, nil
}

// Close releases what the run holds.
func (r *run) Close() error { return closeAfter(r.points, r.batch.Close()) }

// now is the newest revision that the command under way may see.
func (r *run) now() int64 {
	if r.sub > 0 {
		return r.state.revision + 1
	}
	return r.state.revision
}

// finish ends a command: its changes, if it made any, become a revision.
func (r *run) finish() {
	if r.sub > 0 {
		next := *r.state
		next.revision++
		r.state, r.sub = &next, 0
	}
}

func (r *run) view() view { return view{reader: r, now: r.now(), state: r.state} }

// newest implements reader. Revisions before the current one are found in the batch as well, which is indexed then.
func (r *run) newest(key []byte, rev int64) (version, error) {
	if rev >= r.now() {
		return r.current(key, true)
	}
	it, err := r.newIter([]byte{tableKeys}, []byte{tableKeys + 1})
	if err != nil {
		return version{}, err
	}
	v, buffer, err := seekVersion(it, r.keyBuffer, key, last(rev))
	r.keyBuffer = buffer
	v.detach()
	return v, closeAfter(it, err)
}

// current returns the newest version of key, with the changes of this run. The value may be left out if it is not needed.
func (r *run) current(key []byte, needValue bool) (version, error) {
	if h, ok := r.latest[string(key)]; ok {
		return h.version, nil
	}
	if h, _, ok := r.heads.get(key); ok && (h.whole || !needValue) {
		return h.version, nil
	}
	v, buffer, err := seekVersion(r.points, r.keyBuffer, key, last(r.state.revision))
	r.keyBuffer = buffer
	return v, err
}

// replaced returns the version of key that a change is about to replace, with its value if the change or a watcher needs it.
func (r *run) replaced(key []byte, needValue bool) (version, error) {
	return r.current(key, needValue || r.collect == collectEventsWithPrevious)
}

func (r *run) newIter(lower, upper []byte) (*pebble.Iterator, error) {
	if !r.indexed {
		return nil, fmt.Errorf("kv: scan in a batch without index")
	}
	return r.batch.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

// scan implements reader.
func (r *run) scan(ctx context.Context, sp span, rev, limit int64, visit visitor) (int64, error) {
	it, err := r.newIter(sp.bounds())
	if err != nil {
		return 0, err
	}
	count, err := scanVersions(ctx, it, rev, limit, visit)
	return count, closeAfter(it, err)
}

// write adds the next change of the command under way: value under key, or the deletion of key. key and value must stay as
// they are until the run is published; prev is the version that it replaces.
func (r *run) write(key []byte, prev *version, value []byte, lease int64, kind byte) error {
	v := version{stamp: stamp{main: r.state.revision + 1, sub: r.sub}, kind: kind}
	oldLease := int64(0)
	if prev.exists() {
		oldLease = prev.lease
	}
	if kind == kindPut {
		v.create, v.number, v.lease, v.value = v.main, 1, lease, value
		if prev.exists() {
			v.create, v.number = prev.create, prev.number+1
		}
	}
	if r.collect > collectNothing {
		c := change{key: key, now: v}
		if r.collect == collectEventsWithPrevious && prev.exists() {
			c.prev = prev.keyValue(key)
		}
		r.changes = append(r.changes, c)
	}
	if err := r.attach(key, oldLease, v.lease); err != nil {
		return err
	}
	r.sub++
	name := string(key)
	if exists := kind == kindPut; exists != prev.exists() {
		r.turns = append(r.turns, turn{key: name, exists: exists})
	}
	r.latest[name] = head{version: v, whole: true}
	return r.store(key, &v)
}

// store adds a version and its place in the history to the batch.
func (r *run) store(key []byte, v *version) error {
	var header [maxHeaderBytes]byte
	n := 0
	if v.kind == kindPut {
		n = len(v.appendHeader(header[:0]))
	}
	k := appendSuffix(appendKeyPrefix(r.keyBuffer[:0], key), v.stamp, v.kind)
	r.keyBuffer = k
	set := r.batch.SetDeferred(len(k), n+len(v.value))
	copy(set.Key, k)
	copy(set.Value, header[:n])
	copy(set.Value[n:], v.value)
	if err := set.Finish(); err != nil {
		return err
	}
	r.otherBuffer = appendRevision(r.otherBuffer[:0], v.stamp)
	return r.batch.Set(r.otherBuffer, key, nil)
}

// attach moves key from one lease to another; 0 is none.
func (r *run) attach(key []byte, from, to int64) error {
	if from == to {
		return nil
	}
	if from != 0 {
		r.otherBuffer = appendAttached(r.otherBuffer[:0], from, key)
		if err := r.batch.Delete(r.otherBuffer, nil); err != nil {
			return err
		}
	}
	if to != 0 {
		r.otherBuffer = appendAttached(r.otherBuffer[:0], to, key)
		return r.batch.Set(r.otherBuffer, nil, nil)
	}
	return nil
}

// attached returns the keys attached to a lease, in order.
func (r *run) attached(id int64) ([][]byte, error) {
	it, err := r.newIter(attachedBounds(id))
	if err != nil {
		return nil, err
	}
	keys, err := attachedKeys(it)
	return keys, closeAfter(it, err)
}

func attachedKeys(it *pebble.Iterator) (keys [][]byte, err error) {
	for ok := it.First(); ok; ok = it.Next() {
		key, err := userKey(it.Key(), attachedTableBytes)
		if err != nil {
			return nil, err
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys, it.Error()
}

func (r *run) grant(id, ttl int64) error {
	r.leases.set(id, ttl)
	r.otherBuffer = appendLease(r.otherBuffer[:0], id)
	return r.batch.Set(r.otherBuffer, binary.AppendUvarint(nil, uint64(ttl)), nil)
}

func (r *run) revoke(id int64) error {
	r.leases.set(id, 0)
	r.otherBuffer = appendLease(r.otherBuffer[:0], id)
	return r.batch.Delete(r.otherBuffer, nil)
}

// deleteKeys deletes all keys of a span that exist, and calls each with what is deleted.
func (r *run) deleteKeys(sp span, each func(key []byte, v *version)) (int64, error) {
	if sp.single() {
		return r.deleteOne(sp.start, each)
	}
	type found struct {
		key []byte
		v   version
	}
	var doomed []found
	keepValues := each != nil || r.collect == collectEventsWithPrevious
	_, err := r.scan(context.Background(), sp, r.now(), maxKeys, func(key []byte, v *version) error {
		f := found{key: bytes.Clone(key), v: *v}
		if f.v.value = nil; keepValues {
			f.v.value = bytes.Clone(v.value)
		}
		doomed = append(doomed, f)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range doomed {
		if each != nil {
			each(doomed[i].key, &doomed[i].v)
		}
		if err := r.write(doomed[i].key, &doomed[i].v, nil, 0, kindDelete); err != nil {
			return 0, err
		}
	}
	return int64(len(doomed)), nil
}

func (r *run) deleteOne(key []byte, each func(key []byte, v *version)) (int64, error) {
	v, err := r.replaced(key, each != nil)
	if err != nil || !v.exists() {
		return 0, err
	}
	if each != nil {
		each(key, &v)
	}
	return 1, r.write(key, &v, nil, 0, kindDelete)
}
