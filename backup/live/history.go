package live

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"

	"github.com/mimir-kv/mimir/backup/sides"
)

// Range is what a side has behind one revision up to another, in its order. The hash is a SHA-256 over its changes, as
// digest.change writes them: two that have the same one have the same changes.
type Range struct {
	Behind  int64  `json:"behind"`
	To      int64  `json:"to"`
	Changes int64  `json:"changes"`
	Bytes   int64  `json:"bytes"`
	Hash    string `json:"hash"`
}

// aheadRanges is how far one side may be read before the other.
const aheadRanges = 1 << 10

// digest is the sum of a range, or of the keys at a revision.
type digest struct {
	hash.Hash
	text []byte
}

func newDigest() *digest { return &digest{Hash: sha256.New()} }

func (d *digest) sum() string { return hex.EncodeToString(d.Sum(nil)) }

// change adds a change: its revision (8 bytes, as all numbers big endian), 0 for a put and 1 for a deletion, the length
// of the key (4) and the key; of a put then its create revision (8), its version (8), its lease (8), and the length of
// the value (4) and the value.
func (d *digest) change(kind mvccpb.Event_EventType, kv *mvccpb.KeyValue) {
	d.text = append(binary.BigEndian.AppendUint64(d.text[:0], uint64(kv.ModRevision)), byte(kind))
	d.text = append(binary.BigEndian.AppendUint32(d.text, uint32(len(kv.Key))), kv.Key...)
	if kind == mvccpb.Event_PUT {
		for _, n := range []int64{kv.CreateRevision, kv.Version, kv.Lease} {
			d.text = binary.BigEndian.AppendUint64(d.text, uint64(n))
		}
		d.text = binary.BigEndian.AppendUint32(d.text, uint32(len(kv.Value)))
	}
	d.Write(d.text)
	if kind == mvccpb.Event_PUT {
		d.Write(kv.Value)
	}
}

// History compares the whole history of both sides up to a revision: the keys at the revision from which on both have
// it, which is returned, or at one behind which it is asked for, and then the hashes of ranges of so many revisions.
// Each side is read by itself, and held in memory is one revision of it. The first difference is ErrParted, and says at
// which change it is.
func History(
	ctx context.Context, etcd, fleet sides.Side, behind, to, every int64, told func(Compared),
) (base Compared, ranges []Range, err error) {
	for _, side := range []sides.Side{etcd, fleet} {
		compacted, err := side.Compacted(ctx)
		if err != nil {
			return base, nil, err
		}
		behind = max(behind, compacted)
	}
	if behind >= to {
		return base, nil, fmt.Errorf("%w: nothing is left of the history up to revision %d: one side is compacted up "+
			"to %d, or it begins there", ErrCompacted, to, behind)
	}
	if behind > 1 { // at 1 nothing is there
		if base, err = Content(ctx, etcd, fleet, behind, told); err != nil {
			return base, nil, err
		}
	}
	base.Revision = behind
	group, within := errgroup.WithContext(ctx)
	var sums [2]chan Range
	for i, side := range []sides.Side{etcd, fleet} {
		sums[i] = make(chan Range, aheadRanges)
		group.Go(func() error { return rangesOf(within, side, behind, to, every, sums[i]) })
	}
	parted := errors.New("parted") // is not what is returned
	group.Go(func() error {
		sum := base
		for at := behind; at < to; at = ranges[len(ranges)-1].To {
			var both [2]Range
			for i := range sums {
				select {
				case both[i] = <-sums[i]:
				case <-within.Done():
					return within.Err()
				}
			}
			ranges = append(ranges, both[0])
			if both[0] != both[1] {
				return parted
			}
			sum.Keys, sum.Bytes = sum.Keys+both[0].Changes, sum.Bytes+both[0].Bytes
			if told != nil {
				told(sum)
			}
		}
		return nil
	})
	if err = group.Wait(); errors.Is(err, parted) {
		err = differs(ctx, etcd, fleet, ranges[len(ranges)-1])
	}
	return base, ranges, err
}

// differs says what is another in a range, of which the hashes are.
func differs(ctx context.Context, etcd, fleet sides.Side, r Range) error {
	_, err := Changes(ctx, etcd, fleet, r.Behind, r.To, nil)
	if err == nil {
		err = fmt.Errorf("%w: their hashes were others a moment ago", ErrParted)
	}
	return fmt.Errorf("revisions %d to %d: %w", r.Behind+1, r.To, err)
}

// rangesOf sends the ranges of a side.
func rangesOf(ctx context.Context, s sides.Side, behind, to, every int64, out chan<- Range) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := sides.OpenWatch(ctx, s.Conn, behind+1)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	sum, r := newDigest(), Range{Behind: behind, To: min(to, nextOf(behind, every))}
	end := func() {
		r.Hash = sum.sum()
		select {
		case out <- r:
		case <-ctx.Done():
		}
		sum, r = newDigest(), Range{Behind: r.To, To: min(to, nextOf(r.To, every))}
	}
	for r.Behind < to {
		patience := time.AfterFunc(pageTime, cancel)
		one, err := w.Next()
		if patience.Stop(); err != nil {
			return fmt.Errorf("%s: the history behind revision %d: %w", s.Name, r.Behind, err)
		}
		for one.Number > r.To && r.Behind < to {
			end()
		}
		if r.Behind >= to {
			break
		}
		for _, e := range one.Events {
			sum.change(e.Type, e.Kv)
			r.Changes, r.Bytes = r.Changes+1, r.Bytes+int64(len(e.Kv.Key)+len(e.Kv.Value))
		}
		if one.Number == r.To {
			end()
		}
	}
	return nil
}

// nextOf returns the end of the range behind a revision: ranges end at whole multiples.
func nextOf(behind, every int64) int64 { return (behind/every + 1) * every }

// sumKeys adds keys in their order.
func (d *digest) sumKeys(kvs []*mvccpb.KeyValue) (bytes int64) {
	for _, kv := range kvs {
		d.change(mvccpb.Event_PUT, kv)
		bytes += int64(len(kv.Key) + len(kv.Value))
	}
	return bytes
}
