package mvcc

import (
	"encoding"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// Writer adds changes to a batch, each with all entries that belong to it (M2). It copies what it is given. It is
// used by one goroutine.
type Writer struct {
	batch      *pebble.Batch
	key, other []byte // buffers
}

// NewWriter returns a writer to batch.
func NewWriter(batch *pebble.Batch) *Writer { return &Writer{batch: batch} }

// Version adds a version of key and its place in the history.
func (w *Writer) Version(key []byte, v *Version) error {
	var header [maxHeaderBytes]byte
	n := 0
	if v.Kind == KindPut {
		n = len(v.appendHeader(header[:0]))
	}
	k := appendSuffix(appendKeyPrefix(w.key[:0], key), v.Stamp, v.Kind)
	w.key = k
	set := w.batch.SetDeferred(len(k), n+len(v.Value))
	copy(set.Key, k)
	copy(set.Value, header[:n])
	copy(set.Value[n:], v.Value)
	if err := set.Finish(); err != nil {
		return err
	}
	w.other = appendRevision(w.other[:0], v.Stamp)
	return w.batch.Set(w.other, key, nil)
}

// Attach moves key from one lease to another; 0 is none.
func (w *Writer) Attach(key []byte, from, to int64) error {
	if from == to {
		return nil
	}
	if from != 0 {
		w.other = appendAttached(w.other[:0], from, key)
		if err := w.batch.Delete(w.other, nil); err != nil {
			return err
		}
	}
	if to != 0 {
		w.other = appendAttached(w.other[:0], to, key)
		return w.batch.Set(w.other, nil, nil)
	}
	return nil
}

// Grant adds a lease with its time to live in seconds.
func (w *Writer) Grant(id, ttl int64) error {
	w.other = appendLease(w.other[:0], id)
	return w.batch.Set(w.other, binary.AppendUvarint(nil, uint64(ttl)), nil)
}

// Revoke removes a lease. Its keys are deleted by versions of their own.
func (w *Writer) Revoke(id int64) error {
	w.other = appendLease(w.other[:0], id)
	return w.batch.Delete(w.other, nil)
}

// State replaces the state.
func (w *Writer) State(s *State) error {
	w.other = s.append(w.other[:0])
	return w.batch.Set(keyState, w.other, nil)
}

// Metadata replaces the metadata that replication keeps here.
func (w *Writer) Metadata(meta encoding.BinaryAppender) (err error) {
	if w.other, err = meta.AppendBinary(w.other[:0]); err != nil {
		return err
	}
	return w.batch.Set(keyMetadata, w.other, nil)
}
