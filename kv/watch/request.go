package watch

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Request names the events that a Watcher yields.
type Request struct {
	// Key and RangeEnd name keys as requests of etcd do.
	Key, RangeEnd []byte
	// StartRevision is the revision of the first event wanted; it may lie up to mvcc.Ahead in the future. 0 means
	// everything after the revision at which the watcher is created.
	StartRevision int64
	// PrevKV adds to each event the key-value before it, unless the revision before the event has been compacted.
	PrevKV bool
	// NoPut and NoDelete leave out events of a kind.
	NoPut, NoDelete bool
}

// wants reports whether a change of a kind of one of the keys is to be seen, wherever it lies.
func (r *Request) wants(kind byte) bool {
	if kind == mvcc.KindDelete {
		return !r.NoDelete
	}
	return !r.NoPut
}

// Batch is what one Next yields: all wanted events of one or more whole revisions.
type Batch struct {
	// Events are shared between watchers and must not be changed. There is at least one.
	Events []*mvccpb.Event
	// Revision is the one up to which, with this batch, everything has been yielded.
	Revision int64
}

// ErrClosed ends a watcher that was closed.
var ErrClosed = errors.New("kv: watcher closed")

// CompactedError is a command.ErrCompacted that says from which revision on the history can be watched and read. It
// ends whoever wants what the history does not have: what was compacted, what lies in a gap, what another history had.
type CompactedError struct {
	Revision int64 // positive
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("%v; history begins at revision %d", command.ErrCompacted, e.Revision)
}

// Is makes errors.Is(err, command.ErrCompacted) true.
func (e *CompactedError) Is(target error) bool { return target == command.ErrCompacted }
