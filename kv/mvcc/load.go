package mvcc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// ErrCorrupt says that bytes on disk are not what was written.
var ErrCorrupt = errors.New("kv: corrupt data")

// LoadState returns the state in db, that of an empty store if there is none.
func LoadState(db pebble.Reader) (*State, error) {
	p, err := get(db, keyState)
	if err != nil || p == nil {
		return newState(), err
	}
	return decodeState(p)
}

// LoadMetadata returns the metadata in db as it was encoded, nil if there is none.
func LoadMetadata(db pebble.Reader) ([]byte, error) { return get(db, keyMetadata) }

// get returns a copy of the value of key, nil if there is none.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	p, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p = append([]byte{}, p...)
	return p, closer.Close()
}

// EachLease calls add with each lease in db, its time to live in seconds and whether its end has begun, in order of ID.
// An error of add ends the walk.
func EachLease(db pebble.Reader, add func(id int64, ttl uint64, ending bool) error) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableLeases}, UpperBound: []byte{tableLeases + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var id int64
		if id, err = decodeLease(it.Key()); err != nil {
			break
		}
		ttl, n := binary.Uvarint(it.Value())
		if n <= 0 {
			err = fmt.Errorf("%w: lease %d with value %x", ErrCorrupt, id, it.Value())
			break
		}
		err = add(id, ttl, bytes.Equal(it.Value()[n:], leaseEnding))
	}
	return cmp.Or(err, it.Error(), it.Close())
}

// EachAuth calls add with each record of users and roles in db. An error of add ends the walk. The record is valid
// during the call.
func EachAuth(db pebble.Reader, add func(kind byte, name string, record []byte) error) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableAuth}, UpperBound: []byte{tableAuth + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var name []byte
		if name, err = userKey(it.Key(), authTableBytes); err == nil {
			err = add(it.Key()[1], string(name), it.Value())
		}
	}
	return cmp.Or(err, it.Error(), it.Close())
}

// AttachedKeys returns the keys attached to a lease, in order.
func AttachedKeys(db pebble.Reader, id int64) (keys [][]byte, err error) {
	err = EachAttached(db, id, nil, func(key []byte) (more bool) {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// EachAttached calls visit with each key attached to a lease, in order: those behind after, if that is not nil. It ends
// when visit wants no more. The key is valid during the call.
func EachAttached(db pebble.Reader, id int64, after []byte, visit func(key []byte) (more bool)) error {
	lower, upper := attachedBounds(id)
	if after != nil {
		lower = appendAttached(nil, id, after)
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		var key []byte
		if key, err = userKey(it.Key(), attachedTableBytes); err != nil {
			break
		}
		if after != nil && bytes.Equal(key, after) {
			continue
		}
		if !visit(key) {
			break
		}
	}
	return cmp.Or(err, it.Error(), it.Close())
}
