package replay

import (
	"bytes"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// version is what a key was at some time. The zero version is that of a key which is not there.
type version struct {
	exists bool
	mod    stamp
	// create and number are those of the key since it was last created; vague says that they are not known.
	create stamp
	number int64
	vague  bool
	lease  int64
	value  []byte
}

func versionOf(kv *mvccpb.KeyValue) version {
	if kv == nil {
		return version{}
	}
	return version{
		exists: true, mod: exactly(kv.ModRevision), create: exactly(kv.CreateRevision), number: kv.Version,
		lease: kv.Lease, value: kv.Value,
	}
}

// key is one that the tail touches.
type key struct {
	name  string
	fork  version
	known bool // what fork is

	// In the lost history, so far: what it is, unless that is not sure; what it was before; and how often it changed.
	lost, before version
	sure, prior  bool
	stage        int
	perhaps      []int64 // leases that it may hang on, while that is not sure

	// Today: what it is, while the first pass compares; then the last stage that it is at, -1 if at none, with its
	// revision, 0 if it is not there, and what is in the way.
	now     *mvccpb.KeyValue
	settled bool
	place   int
	mod     int64
	made    bool  // place was only pretended
	madeOn  int64 // with this lease
	blocked string
}

// newKey returns a key as it is today, and at the fork if that is known.
func newKey(name string, now *mvccpb.KeyValue, fork version, known bool) *key {
	k := &key{name: name, fork: fork, known: known, now: now}
	if now != nil {
		k.mod = now.ModRevision
	}
	k.reset()
	return k
}

// size is how many bytes are held of it.
func (k *key) size() int64 {
	return heldOfKey + int64(2*len(k.name)+len(k.fork.value)+len(k.lost.value)+len(k.before.value)+
		len(k.now.GetValue()))
}

// origin is where the key is today if the tail did nothing to it.
func (k *key) origin() int {
	if k.known && k.forkMod() == k.mod {
		return 0
	}
	return -1
}

func (k *key) forkMod() int64 {
	if !k.fork.exists {
		return 0
	}
	return k.fork.mod.exact
}

// reset takes the key back to the fork. While it is still compared with today, that begins anew too.
func (k *key) reset() {
	if !k.settled {
		k.place = k.origin()
	}
	k.lost, k.sure, k.stage = k.fork, k.known, 0
	k.before, k.prior, k.perhaps = version{}, false, nil
}

// becomes is a change in the lost history.
func (k *key) becomes(v version) {
	k.before, k.prior = k.lost, k.sure
	k.lost, k.sure, k.perhaps = v, true, nil
	k.stage++
}

// doubted is a change that may have been, to v, under one of these leases or none.
func (k *key) doubted(v version, leases []int64) {
	if k.sure && k.lost.lease != 0 {
		k.perhaps = append(k.perhaps, k.lost.lease)
	}
	k.perhaps = append(k.perhaps, leases...)
	k.lost, k.sure, k.prior = v, false, false
	k.stage++
}

// like reports whether kv is this version, but for how often the key was written.
func (v *version) like(kv *mvccpb.KeyValue) bool {
	if kv == nil || !v.exists {
		return kv == nil && !v.exists
	}
	return v.lease == kv.Lease && bytes.Equal(v.value, kv.Value)
}

// is reports whether kv is this version.
func (v *version) is(kv *mvccpb.KeyValue) bool {
	return v.like(kv) && (kv == nil || !v.vague && v.number == kv.Version)
}

// observe notes, in the first pass, whether the stage just reached is today's.
func (k *key) observe() {
	if k.sure && k.lost.is(k.now) {
		k.place = k.stage
	}
}

// settle ends the first pass: a key that is today as the tail left it has all of the tail, whoever wrote it. Where it
// is not sure how the tail left it, that is so if the key has the value that it would have left if all was done.
func (k *key) settle() {
	if k.stage > 0 && k.lost.like(k.now) && (k.sure || k.place < 0 && k.lost.exists) {
		k.place = k.stage
	}
	k.now, k.settled = nil, true
}
