package mvcc

import (
	"bytes"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/command"
)

// LifeVisitor receives a key, whether it existed at the revision at which a look at lives begins, and the revisions
// after that at which it ceased to exist or began to, in turn, from new to old. All is valid only during the call.
type LifeVisitor func(key []byte, there bool, flips []int64) (more bool)

// Lives calls visit with each key of sp that has a version up to revision upTo, in order, until it wants no more. What
// happened up to since is not told. It reads few of the versions of a key that was only overwritten.
func (r *Reader) Lives(ctx context.Context, sp command.Span, since, upTo int64, visit LifeVisitor) error {
	r.points.SetBounds(spanBounds(sp))
	r.narrowed = true
	w := lives{it: r.points, since: since}
	visited := 0
	for w.valid = w.it.First(); w.valid; w.leave() {
		if visited++; visited%cancelCheckKeys == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		w.enter()
		found, err := w.below(upTo)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		there, err := w.history()
		if err != nil {
			return err
		}
		key, err := userKey(w.prefix, tableBytes)
		if err != nil {
			return err
		}
		if !visit(key, there, w.flips) {
			return nil
		}
	}
	return w.it.Error()
}

// lives walks from key to key.
type lives struct {
	it           *pebble.Iterator
	valid        bool
	since        int64
	prefix, seek []byte // of the key
	flips        []int64
	at           Stamp // where it stands, if it is on the key
	kind         byte
}

// enter begins with the key at which it stands.
func (w *lives) enter() {
	k := w.it.Key()
	w.prefix = append(w.prefix[:0], k[:split(k)]...)
	w.flips = w.flips[:0]
}

// on reports whether it stands on the key.
func (w *lives) on() bool {
	if !w.valid {
		return false
	}
	k := w.it.Key()
	return bytes.Equal(k[:split(k)], w.prefix)
}

// leave goes to the next key.
func (w *lives) leave() {
	if w.on() {
		w.valid = w.it.NextPrefix()
	}
}

// stepsBeforeSeek is how many versions are stepped over before it is worth to seek.
const stepsBeforeSeek = 8

// below goes on to the newest version of the key at or below rev, if it has one.
func (w *lives) below(rev int64) (found bool, err error) {
	for steps := 0; w.on(); steps++ {
		k := w.it.Key()
		if w.at, w.kind, err = decodeSuffix(k[len(w.prefix):]); err != nil || w.at.Main <= rev {
			return err == nil, err
		}
		if steps < stepsBeforeSeek {
			w.valid = w.it.Next()
			continue
		}
		w.seek = appendSuffix(append(w.seek[:0], w.prefix...), last(rev), 0)
		w.valid = w.it.SeekGE(w.seek)
	}
	return false, w.it.Error()
}

// history gathers the flips of the key, from the version on at which it stands, and returns whether it existed at
// since.
func (w *lives) history() (there bool, err error) {
	for {
		exists := w.kind == KindPut
		from := w.at.Main // since then it was so
		if from > w.since && exists {
			v := Version{Stamp: w.at, Kind: w.kind}
			if err := decodeAt(w.it, &v); err != nil {
				return false, err
			}
			from = v.Create
		}
		if from <= w.since {
			return exists, nil
		}
		found, err := w.below(from - 1)
		if err != nil {
			return false, err
		}
		if before := found && w.kind == KindPut; before != exists {
			w.flips = append(w.flips, from)
		}
		if !found {
			return false, nil
		}
	}
}
