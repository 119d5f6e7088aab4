package mvcc

import (
	"bytes"
	"cmp"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/command"
)

// Look is what a look at the lives of keys is about.
type Look struct {
	Span command.Span
	// Since and UpTo are revisions: what happened up to Since is not told, nor what came after UpTo.
	Since, UpTo int64
	// MostFlips is how many flips of one key are told. Of a key with more that is the newest ones.
	MostFlips int
}

// LifeVisitor receives a key, the revision of its last change, made, that at which it began to exist for the last
// time (0 if it did not exist at the revision since, nor after it), whether it existed at since, which is the
// revision of the look or, of a key with too many flips, a later one, and the revisions after that at which it ceased
// to exist or began to, in turn, from new to old: one that ended it and began it anew is there twice. All is valid
// only during the call.
type LifeVisitor func(key []byte, newest, made, since int64, there bool, flips []int64) (more bool)

// Lives calls visit with each key that has a version up to the end of a look, in order, until it wants no more. It
// reads few of the versions of a key that was only overwritten, and of any no more than its flips ask for. It ends with
// ctx, within a key too.
func (r *Reader) Lives(ctx context.Context, look Look, visit LifeVisitor) error {
	r.points.SetBounds(spanBounds(look.Span))
	r.narrowed = true
	w := lives{it: r.points, since: look.Since, most: look.MostFlips, ended: ctx.Err}
	for w.valid = w.it.First(); w.valid; w.leave() {
		w.enter()
		found, err := w.below(look.UpTo)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		newest := w.at.Main
		since, there, err := w.history()
		if err != nil {
			return err
		}
		key, err := userKey(w.prefix, tableBytes)
		if err != nil {
			return err
		}
		if !visit(key, newest, w.made, since, there, w.flips) {
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
	most         int          // flips
	ended        func() error // says why it is to end
	looks        int          // how often below was called
	prefix, seek []byte       // of the key
	flips        []int64
	at           Stamp // where it stands, if it is on the key
	kind         byte
	made         int64 // as LifeVisitor has it
}

// enter begins with the key at which it stands.
func (w *lives) enter() {
	k := w.it.Key()
	w.prefix = append(w.prefix[:0], k[:split(k)]...)
	w.flips, w.made = w.flips[:0], 0
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
	if w.looks++; w.looks%cancelCheckKeys == 0 {
		if err := w.ended(); err != nil {
			return false, err
		}
	}
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

// history gathers the flips of the key, from the version on at which it stands, and when it was made, and returns since
// when it knows of all flips, and whether the key existed then.
func (w *lives) history() (since int64, there bool, err error) {
	for lives := 0; ; lives++ {
		exists := w.kind == KindPut
		from := w.at.Main // since then it was so
		if exists && (from > w.since || w.made == 0) {
			v := Version{Stamp: w.at, Kind: w.kind}
			if err := decodeAt(w.it, &v); err != nil {
				return 0, false, err
			}
			from = v.Create
			w.made = cmp.Or(w.made, from)
		}
		if from <= w.since {
			return w.since, exists, nil
		}
		if lives == w.most {
			return from, exists, nil
		}
		found, err := w.below(from - 1)
		if err != nil {
			return 0, false, err
		}
		switch before := found && w.kind == KindPut; {
		case before != exists:
			w.flips = append(w.flips, from)
		case exists && len(w.flips)+2 > w.most:
			return from, exists, nil
		case exists: // a revision ended it and began it anew
			w.flips = append(w.flips, from, from)
		}
		if !found {
			return w.since, false, nil
		}
	}
}
