package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Place is where in a history a content is. A backup says it in its note; what a version before took does not.
type Place struct {
	History  string            `json:"history"` // the chain behind its first beginning, as names of backups have it
	Position timeline.Position `json:"position"`
	Chain    string            `json:"chain"`  // behind Position; of chains the first bytes, hexadecimal
	Reigns   []Reign           `json:"reigns"` // those that lead there, the oldest first, or the last ones of them
	// Shared is up to which position of it more than half of all regions were known to have the history then.
	Shared timeline.Position `json:"shared,omitempty"`
	// Returns are of when the history had gone back.
	Returns []Return `json:"returns,omitempty"`
}

// Reign is the beginning of an epoch. Its chain tells it from all others, and what came before it too.
type Reign struct {
	Epoch timeline.Epoch    `json:"epoch"`
	First timeline.Position `json:"first"` // that it may write
	Chain string            `json:"chain"` // behind the beginning
}

// Return says that a history was at a position at a time, when backups lay there already that were further: it had gone
// back to before them, as where a content is restored once more, or a disk went back. What was written further on since
// may have the same reigns and positions, and is something else.
type Return struct {
	At       time.Time         `json:"at"`
	Position timeline.Position `json:"position"`
}

// maxReigns and maxReturns are how many of the last ones a note has.
const maxReigns, maxReturns = 256, 16

// PlaceOf returns the place of an origin, the zero one of none.
func PlaceOf(o timeline.Origin) (p Place) {
	if len(o.Reigns) == 0 {
		return p
	}
	folder := timeline.NewFolder()
	for _, r := range o.Reigns {
		p.Reigns = append(p.Reigns, Reign{r.Epoch, r.First, folder.Reign(r.Previous, r).String()})
	}
	p.History, p.Position, p.Chain = p.Reigns[0].Chain, o.Cursor.Position, o.Cursor.Chain.String()
	return p
}

// Encode returns what a note has of a place; nil of none.
func (p Place) Encode() json.RawMessage {
	if len(p.Reigns) == 0 {
		return nil
	}
	p.Reigns = p.Reigns[max(0, len(p.Reigns)-maxReigns):]
	p.Returns = p.Returns[max(0, len(p.Returns)-maxReturns):]
	text, _ := json.Marshal(p)
	return text
}

// ReadPlace reads from the beginning of a backup where it is; nil if it does not say so.
func ReadPlace(r io.Reader) (*Place, error) {
	text, err := snapshot.ReadNote(r)
	if err != nil {
		return nil, err
	}
	note, err := snapshot.DecodeNote(text)
	if err != nil || note.Place == nil {
		return nil, err
	}
	p := new(Place)
	if err := json.Unmarshal(note.Place, p); err != nil {
		return nil, fmt.Errorf("where it is: %w", err)
	}
	return p, nil
}

// Places are where backups are, by name, of those that were looked at: nil of one that does not say so.
type Places map[string]*Place

const (
	// looksAtOnce is how many backups are looked at at a time, lookEach bounds one look, and looksTime all of them.
	looksAtOnce = 16
	lookEach    = 30 * time.Second
	looksTime   = time.Minute
)

// errNotInTime says of a backup that it is not known where it is.
var errNotInTime = errors.New("it could not be looked at in time")

// Locate looks at all that were not looked at, the newest first, some at a time, and forgets all others. What cannot be
// read, or not in time, stays unknown, and another call looks again: one that hangs, or a place that is slow, keeps
// nobody from what is known of the newest. The error is that of the newest one.
func (k Places) Locate(
	ctx context.Context, s store.Store, all []Backup, read func(io.Reader) (*Place, error),
) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, looksTime, errNotInTime)
	defer cancel()
	there := map[string]bool{}
	var names []string
	for _, b := range slices.Backward(all) {
		there[b.Name] = true
		if _, known := k[b.Name]; !known {
			names = append(names, b.Name)
		}
	}
	maps.DeleteFunc(k, func(name string, _ *Place) bool { return !there[name] })
	looks := make([]look, len(names))
	var begun atomic.Int64
	var looking sync.WaitGroup
	for range min(looksAtOnce, len(names)) {
		looking.Go(func() {
			for i := begun.Add(1) - 1; i < int64(len(names)); i = begun.Add(1) - 1 {
				looks[i] = lookAt(ctx, s, names[i], read)
			}
		})
	}
	looking.Wait()
	for i, l := range looks {
		switch {
		case l.err == nil:
			k[names[i]] = l.at
		case err == nil:
			err = fmt.Errorf("%s: %w", names[i], l.err)
		}
	}
	return err
}

// look is what came of a look at a backup.
type look struct {
	at  *Place
	err error
}

// lookAt looks at one. A place that hangs, whatever it is told, is left to itself.
func lookAt(ctx context.Context, s store.Store, name string, read func(io.Reader) (*Place, error)) look {
	if ctx.Err() != nil {
		return look{err: context.Cause(ctx)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookEach, errNotInTime)
	defer cancel()
	done := make(chan look, 1)
	go func() {
		at, err := locate(ctx, s, name, read)
		done <- look{at, err}
	}()
	select {
	case l := <-done:
		return l
	case <-ctx.Done():
		return look{err: context.Cause(ctx)}
	}
}

func locate(
	ctx context.Context, s store.Store, name string, read func(io.Reader) (*Place, error),
) (*Place, error) {
	r, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return read(r)
}
