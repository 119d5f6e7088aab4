package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// version is one version of a key. The zero version is that of a key which does not exist.
type version struct {
	stamp
	kind   byte
	create int64 // revision of the key's first version since it was last deleted
	number int64 // 1 for that first version
	lease  int64
	value  []byte
}

// exists reports whether a key with this as its newest version exists.
func (v *version) exists() bool { return v.main != 0 && v.kind == kindPut }

// maxHeaderBytes bounds what precedes the value of a put on disk.
const maxHeaderBytes = 3 * binary.MaxVarintLen64

// appendHeader appends what precedes the value of a put on disk. A delete has neither header nor value.
func (v *version) appendHeader(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.create))
	dst = binary.AppendUvarint(dst, uint64(v.number))
	return binary.AppendUvarint(dst, uint64(v.lease))
}

// decode sets everything but stamp and kind from what is on disk. The value aliases p.
func (v *version) decode(p []byte) error {
	v.create, v.number, v.lease, v.value = 0, 0, 0, nil
	if v.kind == kindDelete {
		return nil
	}
	for _, field := range []*int64{&v.create, &v.number, &v.lease} {
		u, n := binary.Uvarint(p)
		if n <= 0 {
			return fmt.Errorf("%w: version %d.%d of %d bytes", ErrCorrupt, v.main, v.sub, len(p))
		}
		*field, p = int64(u), p[n:]
	}
	v.value = p
	return nil
}

// keyValue returns the version as clients see it. Nothing of it aliases key or v.
func (v *version) keyValue(key []byte) *mvccpb.KeyValue {
	kv := &mvccpb.KeyValue{}
	v.fill(kv, key)
	return kv
}

func (v *version) fill(kv *mvccpb.KeyValue, key []byte) {
	kv.ModRevision = v.main
	buf := make([]byte, len(key)+len(v.value))
	copy(buf, key)
	kv.Key = buf[:len(key):len(key)]
	if v.kind == kindDelete {
		return
	}
	if copy(buf[len(key):], v.value) > 0 {
		kv.Value = buf[len(key):]
	}
	kv.CreateRevision, kv.Version, kv.Lease = v.create, v.number, v.lease
}

// detach makes v own its value.
func (v *version) detach() { v.value = bytes.Clone(v.value) }
