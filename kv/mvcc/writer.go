package mvcc

import (
	"encoding"
	"encoding/binary"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// BatchBytes is how long a batch of Pebble must not become, and DeleteBytes what a deletion takes of it at least,
	// beside the key, twice.
	BatchBytes  = math.MaxUint32
	DeleteBytes = 30

	// Pebble looks for room before it writes a record: for its kind, and a length in its longest form before the key
	// and before the value.
	recordBytes = 1
	lengthBytes = binary.MaxVarintLen32
)

// ErrBatchFull says that a change does not fit the batch any more. What was written of it stays there.
var ErrBatchFull = errors.New("mvcc: the batch is full")

// Writer adds changes to a batch, each with all entries that belong to it (M2). It copies what it is given. It is
// used by one goroutine.
type Writer struct {
	batch      *pebble.Batch
	most       int    // bytes of the batch, exclusive
	key, other []byte // buffers
}

// NewWriter returns a writer to batch, which is full just where Pebble would panic.
func NewWriter(batch *pebble.Batch) *Writer { return NewBoundedWriter(batch, BatchBytes) }

// NewBoundedWriter returns a writer to batch, which is full before it is most bytes long, at most BatchBytes.
func NewBoundedWriter(batch *pebble.Batch, most int) *Writer {
	return &Writer{batch: batch, most: most}
}

// Room returns how many bytes fit the batch.
func (w *Writer) Room() int64 { return int64(w.most - w.batch.Len()) }

// fits reports whether the batch has room for a record.
func (w *Writer) fits(bytes int) bool { return w.batch.Len()+recordBytes+bytes < w.most }

func (w *Writer) set(key, value []byte) error {
	if !w.fits(2*lengthBytes + len(key) + len(value)) {
		return ErrBatchFull
	}
	return w.batch.Set(key, value, nil)
}

func (w *Writer) remove(key []byte) error {
	if !w.fits(lengthBytes + len(key)) {
		return ErrBatchFull
	}
	return w.batch.Delete(key, nil)
}

// Version adds a version of key and its place in the history.
func (w *Writer) Version(key []byte, v *Version) error {
	var header [maxHeaderBytes]byte
	n := 0
	if v.Kind == KindPut {
		n = len(v.appendHeader(header[:0]))
	}
	k := appendSuffix(appendKeyPrefix(w.key[:0], key), v.Stamp, v.Kind)
	w.key = k
	if !w.fits(2*lengthBytes + len(k) + n + len(v.Value)) {
		return ErrBatchFull
	}
	set := w.batch.SetDeferred(len(k), n+len(v.Value))
	copy(set.Key, k)
	copy(set.Value, header[:n])
	copy(set.Value[n:], v.Value)
	if err := set.Finish(); err != nil {
		return err
	}
	w.other = appendRevision(w.other[:0], v.Stamp)
	return w.set(w.other, key)
}

// Attach moves key from one lease to another; 0 is none.
func (w *Writer) Attach(key []byte, from, to int64) error {
	if from == to {
		return nil
	}
	if from != 0 {
		w.other = appendAttached(w.other[:0], from, key)
		if err := w.remove(w.other); err != nil {
			return err
		}
	}
	if to != 0 {
		w.other = appendAttached(w.other[:0], to, key)
		return w.set(w.other, nil)
	}
	return nil
}

// Grant adds a lease with its time to live in seconds.
func (w *Writer) Grant(id, ttl int64) error {
	w.other = appendLease(w.other[:0], id)
	return w.set(w.other, binary.AppendUvarint(nil, uint64(ttl)))
}

// End notes of a lease with this time to live that its end has begun.
func (w *Writer) End(id, ttl int64) error {
	w.other = appendLease(w.other[:0], id)
	return w.set(w.other, append(binary.AppendUvarint(nil, uint64(ttl)), leaseEnding...))
}

// Revoke removes a lease. Its keys are deleted by versions of their own.
func (w *Writer) Revoke(id int64) error {
	w.other = appendLease(w.other[:0], id)
	return w.remove(w.other)
}

// Auth replaces a record of users and roles, or removes it if record is nil.
func (w *Writer) Auth(kind byte, name string, record []byte) error {
	w.other = appendAuth(w.other[:0], kind, name)
	if record == nil {
		return w.remove(w.other)
	}
	return w.set(w.other, record)
}

// State replaces the state.
func (w *Writer) State(s *State) error {
	w.other = s.append(w.other[:0])
	return w.set(keyState, w.other)
}

// Metadata replaces the metadata that replication keeps here.
func (w *Writer) Metadata(meta encoding.BinaryAppender) (err error) {
	if w.other, err = meta.AppendBinary(w.other[:0]); err != nil {
		return err
	}
	return w.set(keyMetadata, w.other)
}
