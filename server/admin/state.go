package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/verify"
)

// States reads the whole states that were saved beside tails, and sums today's.
type States interface {
	verify.Store
	// Open opens the state in a directory.
	Open(dir string) (State, error)
	// ForkBefore returns the revision at which the history that came to revision rev parted from this node's, 0 if that
	// is not known.
	ForkBefore(rev int64) int64
	// Auth returns who may do what in today's history.
	Auth() *auth.State
	// Attached calls visit with each key that is attached to a lease in today's history, and returns its error.
	Attached(lease int64, visit func(key []byte) error) error
	// Same reports whether the state in a directory held at a revision what this node's history held there.
	Same(ctx context.Context, dir string, rev int64) (bool, error)
	// Parting returns what revisions say of where the reign today[at] of this node's history began.
	Parting(today []replication.Reign, at int) kv.Parting
}

// State is a state that was saved beside a tail. Kv's Changes is one.
type State interface {
	Revision() int64
	First(after int64) int64
	Each(after int64, visit func(e *mvccpb.Event) error) error
	Close() error
}

// StateHeader is the first line of a state that is read. A Change a line follows.
type StateHeader struct {
	*replication.TailState
	Revision Revision `json:"revision"` // of the last change
	// Fork is the revision at which the lost history parted from the fleet's; 0 if that is not known.
	Fork  Revision `json:"forkRevision"`
	First Revision `json:"firstRevision"` // what was changed before, and after Fork, was compacted
}

// Change is one change of a state, as the etcd API's JSON has events: keys and values in base64, numbers as text.
type Change = json.RawMessage

// readState sends the header and the changes after the revision that the caller names, or else after the fork. An error
// on the way ends the connection.
func (h *handler) readState(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	dir, about, err := h.Replicator.TailState(r.Context(), name)
	if err != nil {
		refuse(w, statusOf(err), err.Error())
		return
	}
	leave, ok := h.states.take(w, r, "the state beside tail "+name)
	if !ok {
		return
	}
	defer leave()
	state, err := h.States.Open(dir)
	if err != nil {
		refuse(w, statusOf(err), err.Error())
		return
	}
	defer func() {
		if err := state.Close(); err != nil {
			h.Logger.Warn("state beside a tail not closed", "tail", name, "err", err)
		}
	}()
	head := StateHeader{TailState: about, Revision: Revision(state.Revision())}
	after := h.States.ForkBefore(state.Revision())
	head.Fork = Revision(after)
	if text := r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			refuse(w, http.StatusBadRequest, "after: not a revision: "+text)
			return
		}
	}
	head.First = Revision(state.First(after))
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	if err = out.Encode(head); err == nil {
		err = state.Each(after, func(e *mvccpb.Event) error {
			if err := r.Context().Err(); err != nil {
				return err
			}
			line, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(e)
			if err != nil {
				return err
			}
			return out.Encode(Change(line))
		})
	}
	if err != nil {
		h.Logger.Warn("state beside a tail not sent to its end", "tail", name, "err", err)
		panic(http.ErrAbortHandler)
	}
}
