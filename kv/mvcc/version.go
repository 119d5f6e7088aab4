package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Kinds of version.
const (
	KindPut    byte = 0
	KindDelete byte = 1
)

// Stamp is the place of a change in the history: the revision and its number inside it.
type Stamp struct {
	Main int64
	Sub  uint32
}

// last is the newest stamp that a reader at revision rev may see.
func last(rev int64) Stamp { return Stamp{Main: rev, Sub: math.MaxUint32} }

// Version is one version of a key. The zero Version is that of a key which does not exist.
type Version struct {
	Stamp
	Kind   byte
	Create int64 // revision of the key's first version since it was last deleted
	Number int64 // 1 for that first version
	Lease  int64 // 0 for none
	Value  []byte
}

// Exists reports whether a key with this as its newest version exists.
func (v *Version) Exists() bool { return v.Main != 0 && v.Kind == KindPut }

// maxHeaderBytes bounds what precedes the value of a put on disk.
const maxHeaderBytes = 3 * binary.MaxVarintLen64

// appendHeader appends what precedes the value of a put on disk. A delete has neither header nor value.
func (v *Version) appendHeader(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.Create))
	dst = binary.AppendUvarint(dst, uint64(v.Number))
	return binary.AppendUvarint(dst, uint64(v.Lease))
}

// decode sets everything but stamp and kind from what is on disk. The value aliases p.
func (v *Version) decode(p []byte) error {
	v.Create, v.Number, v.Lease, v.Value = 0, 0, 0, nil
	if v.Kind == KindDelete {
		return nil
	}
	for _, field := range []*int64{&v.Create, &v.Number, &v.Lease} {
		u, n := binary.Uvarint(p)
		if n <= 0 {
			return fmt.Errorf("%w: version %d.%d of %d bytes", ErrCorrupt, v.Main, v.Sub, len(p))
		}
		*field, p = int64(u), p[n:]
	}
	v.Value = p
	return nil
}

// KeyValue returns the version as clients see it. Nothing of it aliases key or v.
func (v *Version) KeyValue(key []byte) *mvccpb.KeyValue {
	kv := &mvccpb.KeyValue{}
	v.Fill(kv, key)
	return kv
}

// Fill makes kv what KeyValue returns; it is zero before.
func (v *Version) Fill(kv *mvccpb.KeyValue, key []byte) {
	kv.ModRevision = v.Main
	buf := make([]byte, len(key)+len(v.Value))
	copy(buf, key)
	kv.Key = buf[:len(key):len(key)]
	if v.Kind == KindDelete {
		return
	}
	if copy(buf[len(key):], v.Value) > 0 {
		kv.Value = buf[len(key):]
	}
	kv.CreateRevision, kv.Version, kv.Lease = v.Create, v.Number, v.Lease
}

// Detach makes v own its value.
func (v *Version) Detach() { v.Value = bytes.Clone(v.Value) }
