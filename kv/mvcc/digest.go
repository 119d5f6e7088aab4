package mvcc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	hashes "hash"

	"github.com/mimir-kv/mimir/kv/command"
)

// SumBytes is how many bytes of a SHA-256 are told.
const SumBytes = 16

// Part is what a range of keys holds, of the versions that were asked for. The sum covers keys, versions, revisions,
// leases and values, and not the bounds.
type Part struct {
	From, To              []byte // To is not in it; nil: no bound
	Keys, Versions, Bytes int64  // Keys: with one version at least; Bytes: of keys and values
	Sum                   [SumBytes]byte
}

// Asked is what a Digest is of: of the keys from From, which is in it, to To, which is not, or without a bound if that
// is nil, the versions up to Revision that a compaction at Compact lets be read or watched. Who has compacted less
// counts what he has too much as if it were gone.
type Asked struct {
	From, To          []byte
	Revision, Compact int64
	Every             int64 // keys of a part, the last one may have fewer; 0: all is one part
	// Most is how many bytes of keys and values a part may have: with Every it ends behind the key with which it comes
	// to that, else the walk ends there with ErrTooMuch if another key follows. 0: any number.
	Most int64
}

// ErrTooMuch says that a range holds more than was to be summed at once.
var ErrTooMuch = errors.New("mvcc: the range holds more than may be summed at once")

// Digest calls part with one part after the other, in order and without a gap, until it returns false. Where it does,
// what follows begins at the end of that part.
func (r *Reader) Digest(ctx context.Context, q Asked, part func(Part) (more bool)) error {
	span := command.Span{Start: q.From, End: q.To}
	if q.To == nil {
		span.End = []byte{}
	} else if bytes.Compare(q.From, q.To) >= 0 {
		part(Part{From: q.From, To: q.To, Sum: sumOf(sha256.New())})
		return nil
	}
	r.points.SetBounds(spanBounds(span))
	r.narrowed = true
	s := summer{Part: Part{From: q.From}, hash: sha256.New()}
	err := r.visible(ctx, q.Revision, q.Compact, q.Compact, func(k []byte, v *Version) error {
		return s.take(k, v, &q, part)
	})
	if errors.Is(err, errEnough) {
		return nil
	} else if err == nil {
		s.end(q.To, part)
	}
	return err
}

// errEnough ends a walk whose caller wants no more.
var errEnough = errors.New("enough")

// summer sums the part that is under way.
type summer struct {
	Part
	hash   hashes.Hash
	prefix []byte // of the key of the last version
	buffer []byte
}

func (s *summer) take(k []byte, v *Version, q *Asked, part func(Part) bool) error {
	n := split(k)
	if string(k[:n]) != string(s.prefix) {
		key, err := userKey(k[:n], tableBytes)
		if err != nil {
			return err
		}
		full := s.Keys > 0 && q.Most > 0 && s.Bytes >= q.Most
		if full && q.Every == 0 {
			return ErrTooMuch
		} else if q.Every > 0 && s.Keys > 0 && (full || s.Keys == q.Every) && !s.end(key, part) {
			return errEnough
		}
		s.prefix = append(s.prefix[:0], k[:n]...)
		s.Keys++
		s.Bytes += int64(len(key))
	}
	s.Versions++
	s.Bytes += int64(len(v.Value))
	s.buffer = v.appendTold(s.buffer[:0], k)
	s.hash.Write(s.buffer)
	s.hash.Write(v.Value)
	return nil
}

// end ends the part before a key, and begins the next one there.
func (s *summer) end(at []byte, part func(Part) bool) (more bool) {
	s.To = bytes.Clone(at)
	s.Sum = sumOf(s.hash)
	more = part(s.Part)
	s.Part = Part{From: s.To}
	s.hash.Reset()
	return more
}

func sumOf(h hashes.Hash) (sum [SumBytes]byte) {
	copy(sum[:], h.Sum(nil))
	return sum
}
