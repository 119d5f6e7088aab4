package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// Fork is where a tail parted from the history that a node has now.
type Fork struct {
	Position replication.Position `json:"position"` // the last one that both have
	// Revision is that of the store at the fork; 0 if it is not known, as after a compaction behind it.
	Revision Revision `json:"revision"`
	// Base is above every revision at the fork and at most every one of this history after it; 0 if it is not known.
	Base Revision `json:"base"`
	// Readable is the lowest revision that can be read for certain, at the fork and in the tail.
	Readable Revision `json:"readable"`
	// Jumps are the reigns of the tail at which its revisions jumped, in order.
	Jumps []ForkJump `json:"jumps,omitempty"`
	// Unknown says why Revision and Base are not known, if neither is.
	Unknown string `json:"unknown,omitempty"`
}

// ForkJump is the beginning of a reign of a tail that may have lost something itself.
type ForkJump struct {
	First replication.Position `json:"first"` // before which the revisions jumped
	Epoch replication.Epoch    `json:"epoch"`
	Place uint8                `json:"place"`
	Nonce []byte               `json:"nonce"`
}

func (h *handler) fork(w http.ResponseWriter, r *http.Request) {
	if h.looks.Acquire(r.Context(), 1) != nil {
		return // the client has left
	}
	answerOf(w, h.looks, func() (any, error) { return h.findFork(r) })
}

func (h *handler) findFork(r *http.Request) (*Fork, error) {
	name := r.PathValue("name")
	lost, today, err := h.Replicator.TailReigns(r.Context(), name)
	if err != nil {
		return nil, err
	}
	all, err := h.Replicator.Tails(r.Context())
	if err != nil {
		return nil, err
	}
	f := &Fork{}
	for _, t := range all {
		if t.Name == name && t.Begins() > t.Fork {
			return h.forkOfState(r.Context(), &t, lost, today)
		} else if t.Name == name {
			f.Position = t.Fork
		}
	}
	at, lost := parting(today, lost, f.Position+1)
	for _, l := range lost {
		if l.Lossy {
			f.Jumps = append(f.Jumps, ForkJump{First: l.First, Epoch: l.Epoch, Place: l.Place, Nonce: l.Nonce[:]})
		}
	}
	if at < 0 {
		f.Unknown = fmt.Sprintf("no reign of today's history begins at position %d, just after the fork", f.Position+1)
	} else {
		h.marked(f, today, at)
	}
	return f, nil
}

// marked takes what the reign today[at], which began at the fork, left in the revisions.
func (h *handler) marked(f *Fork, today []replication.Reign, at int) {
	if !today[at].Lossy {
		f.Unknown = fmt.Sprintf("epoch %d, which began just after the fork, left no mark in the revisions",
			today[at].Epoch)
		return
	}
	p := h.States.Parting(today, at)
	f.Revision, f.Base, f.Readable = Revision(p.Revision), Revision(p.Base), Revision(p.Readable)
	if p.Base == 0 {
		f.Unknown = fmt.Sprintf("what epoch %d left in the revisions was compacted", today[at].Epoch)
	}
}

// forkOfState finds where a tail parted that is a whole state, of which lost are all reigns. Where the logs did not
// tell, its file says no more than where the two histories were one for certain. They parted where the reigns do, if
// their contents there are the same.
func (h *handler) forkOfState(
	ctx context.Context, t *replication.TailInfo, lost, today []replication.Reign,
) (*Fork, error) {
	f, at := &Fork{Position: t.Fork}, 0
	for at < min(len(lost), len(today)) && lost[at] == today[at] {
		at++
	}
	if at == len(today) || at < len(lost) && lost[at].First < today[at].First {
		f.Unknown = "the reigns of both histories do not tell where they parted"
		return f, nil
	}
	f.Position = today[at].First - 1
	if h.marked(f, today, at); f.Unknown != "" || f.Revision == 0 || t.Fork >= f.Position {
		return f, nil
	}
	dir, _, err := h.Replicator.TailState(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	same, err := h.States.Same(ctx, dir, int64(f.Revision))
	switch {
	case errors.Is(err, command.ErrCompacted):
		f.Unknown = fmt.Sprintf("it is %d if both histories were the same before epoch %d, as they are if no disk "+
			"went back; nobody can see that any more, since it is compacted", f.Revision, today[at].Epoch)
	case err != nil:
		return nil, err
	case !same:
		f.Unknown = fmt.Sprintf("at revision %d, before epoch %d, what both histories hold is not the same",
			f.Revision, today[at].Epoch)
	default:
		return f, nil
	}
	f.Revision, f.Base = 0, 0
	return f, nil
}

// parting returns which of today's reigns that begin at a position is the first that the lost history has not, -1 if
// there is none, and those of the lost one that today's has not.
func parting(today, lost []replication.Reign, first replication.Position) (int, []replication.Reign) {
	for at := range today {
		switch {
		case today[at].First != first:
		case len(lost) > 0 && lost[0] == today[at]:
			lost = lost[1:]
		default:
			return at, lost
		}
	}
	return -1, lost
}

func (h *handler) discardTail(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	answer(w, struct{}{}, h.Replicator.DiscardTail(r.Context(), name))
}
