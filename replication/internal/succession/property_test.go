package succession

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// check looks for what must never be, whatever is lost and whoever dies.
func (w *world) check() {
	for _, holder := range w.regions {
		reigns := holder.state().Reigns
		for i, r := range reigns {
			if i == 0 || r.Lossy {
				continue
			}
			// r ended the reign before it, loss-free: by a handoff.
			ended := reigns[i-1]
			for _, p := range w.regions {
				if p.state().Writable() && timeline.Latest(p.state().Reigns) == ended {
					w.breaks("two primaries in one history: %s takes writes of epoch %d, which %s has ended", p.name,
						ended.Epoch, r.Primary)
				}
			}
			for _, a := range w.acked {
				if a.reign == ended && a.last >= r.First {
					w.breaks("lost by a switchover: %d of epoch %d was acknowledged, and epoch %d begins at %d",
						a.last, ended.Epoch, r.Epoch, r.First)
				}
			}
		}
	}
	w.oneClaim()
}

// oneClaim: without force, and with it as long as what it must be above was known, an epoch has one primary.
func (w *world) oneClaim() {
	claims := map[timeline.Epoch]timeline.Reign{}
	for _, p := range w.regions {
		for _, r := range p.state().Reigns {
			o, known := claims[r.Epoch]
			if known && o != r && !o.Lossy && !r.Lossy {
				w.breaks("two primaries of epoch %d without force: %s and %s", r.Epoch, o.Primary, r.Primary)
			}
			claims[r.Epoch] = r
		}
	}
}

// keepsAll: what a region has and the copy that it installs has not is in a tail, or another region has it yet.
func (w *world) keepsAll(p *place, installed []any) {
	kept := append(framesOf(installed, 0), p.saved...)
	for _, o := range w.regions {
		if o != p {
			kept = append(append(kept, o.saved...), framesOf(o.history, 0)...)
		}
	}
	for _, f := range framesOf(p.history, 0) {
		same := func(o timeline.Frame) bool {
			return o.Epoch == f.Epoch && o.First == f.First && o.Previous == f.Previous
		}
		if !slices.ContainsFunc(kept, same) {
			w.breaks("lost without a tail: %s had %d to %d of epoch %d", p.name, f.First, f.Last(), f.Epoch)
		}
	}
}

// framesOf returns the frames of a history after a position.
func framesOf(history []any, after timeline.Position) (list []timeline.Frame) {
	for _, e := range history {
		if f, ok := e.(timeline.Frame); ok && f.Last() > after {
			list = append(list, f)
		}
	}
	return list
}

// upTo returns what of a history is not behind a position.
func upTo(history []any, last timeline.Position) (list []any) {
	for _, e := range history {
		if f, ok := e.(timeline.Frame); ok && f.Last() > last {
			continue
		}
		if r, ok := e.(timeline.Reign); ok && r.First > last+1 {
			continue
		}
		list = append(list, e)
	}
	return list
}

// placeOf returns where a history is.
func placeOf(history []any) (c timeline.Cursor) {
	folder := timeline.NewFolder()
	for _, e := range history {
		switch e := e.(type) {
		case timeline.Frame:
			c.Position, c.Chain = e.Last(), folder.Frame(&e)
		case timeline.Reign:
			c.Epoch, c.Chain = e.Epoch, folder.Reign(c.Chain, e)
		}
	}
	return c
}

// inVain: what the log made nothing of is not proposed again before time has passed.
func (w *world) inVain(p *place, what string) {
	if at, was := p.refused[what]; was && w.now-at < testLimits.Retry {
		w.breaks("a loop: %s proposes %s again %v after it was refused", p.name, what, w.now-at)
	}
}

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// converged returns why a world in which nothing is lost any more has not come to rest as it should; "" if it has.
func (w *world) converged() string {
	first := w.regions[0].state()
	primaries := 0
	for _, p := range w.regions {
		s := p.state()
		switch {
		case s.Seal != nil:
			return p.name + " stays sealed for " + s.Seal.To
		case s.Cursor != first.Cursor:
			return fmt.Sprintf("%s is at %d of epoch %d, %s at %d of %d", p.name, s.Cursor.Position, s.Cursor.Epoch,
				first.Region, first.Cursor.Position, first.Cursor.Epoch)
		case s.Writable():
			primaries++
		}
	}
	if primaries != 1 {
		return fmt.Sprintf("%d regions take writes", primaries)
	}
	return ""
}
