package snapshots

import (
	"errors"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

// uselessFor is how often in a row Tidy finds that nothing is offered before it removes what was received: ten minutes,
// as it is called. A leader may take long to make the next checkpoint, of which much is here.
const uselessFor = 300

// Tidy removes what was received and nobody needs any more: the part of a checkpoint of which the rest never came, and
// what could not be removed when it had been installed. It may be as large as the whole state, and would lie there
// until the next offer, which may never come. applied is the last entry that this node has: one that needs a checkpoint
// gets no further without it. One whose disk is full gets no further either, and needs the room more: of it no part is
// kept that does not come just then. It is called now and then, and never blocks.
func (in *Incoming) Tidy(applied uint64, full bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.claimed {
		in.quiet = 0
		return
	}
	if in.quiet++; !full && (in.quiet < uselessFor || applied < in.enough) {
		return
	}
	in.quiet = 0 // if it cannot be removed, it is tried again as late
	in.claimed, in.end = true, func(error) {}
	if !in.life.Spawn(in.clear) {
		in.claimed, in.end = false, nil
	}
}

// clear removes all that was received, and gives back the place, which is its own.
func (in *Incoming) clear() {
	defer in.release()
	in.memory = checkpoint.Memory{}
	names, err := in.names()
	for _, left := range names {
		err = errors.Join(err, checkpoint.Remove(in.config.FS, filepath.Join(in.config.Dir, left)))
	}
	was := in.left
	in.left = err != nil
	switch {
	case err != nil && !was: // it is said once
		in.config.Logger.Warn("what was received of a checkpoint and nobody needs is not removed; it is tried again",
			"err", err)
	case err == nil && len(names) > 0:
		in.config.Logger.Info("what was received of a checkpoint was removed, which nobody needs", "names", names)
	}
}

// Tidy removes what could not be removed when nobody needed it any more. It is called now and then, and never blocks.
func (o *Outgoing) Tidy() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.left && o.held == nil && !o.making && !o.clearing {
		o.clearing = o.life.Spawn(o.clear)
	}
}
