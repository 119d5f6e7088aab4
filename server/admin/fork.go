package admin

import (
	"fmt"
	"net/http"

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
	fork, err := h.findFork(r)
	answer(w, fork, err)
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
		if t.Name == name {
			f.Position = t.Fork
		}
	}
	at, lost := parting(today, lost, f.Position+1)
	for _, l := range lost {
		if l.Lossy {
			f.Jumps = append(f.Jumps, ForkJump{First: l.First, Epoch: l.Epoch, Place: l.Place, Nonce: l.Nonce[:]})
		}
	}
	switch {
	case at < 0:
		f.Unknown = fmt.Sprintf("no reign of today's history begins at position %d, just after the fork", f.Position+1)
		return f, nil
	case !today[at].Lossy:
		f.Unknown = fmt.Sprintf("epoch %d, which began just after the fork, left no mark in the revisions",
			today[at].Epoch)
		return f, nil
	}
	p := h.States.Parting(today, at)
	f.Revision, f.Base, f.Readable = Revision(p.Revision), Revision(p.Base), Revision(p.Readable)
	if p.Base == 0 {
		f.Unknown = fmt.Sprintf("what epoch %d left in the revisions was compacted", today[at].Epoch)
	}
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
	h.Logger.Warn("discarding a tail was asked for", "tail", name, "by", r.RemoteAddr)
	answer(w, struct{}{}, h.Replicator.DiscardTail(r.Context(), name))
}
