package etcdapitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
)

// Late makes the region one that shows its history late, from now on. What comes is applied in the primary's store,
// which is returned, and is not shown here. Nothing is under way when it is called.
func (r *Replicator) Late(tb testing.TB) *kv.Store {
	tb.Helper()
	primary := part(tb, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delayed, r.unsure = true, fmt.Errorf("%w: on purpose", replication.ErrDelayed)
	return primary
}

// Lag makes the region of r one that is behind, from now on: barriers fail, and what comes is applied in the primary's
// store, which is returned, and is not here yet. Nothing is under way when it is called.
func Lag(tb testing.TB, r *Replicator) *kv.Store {
	tb.Helper()
	primary := part(tb, r)
	r.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	return primary
}

// part gives the primary a store of its own, with what there is.
func part(tb testing.TB, r *Replicator) *kv.Store {
	tb.Helper()
	primary, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: StoreDir})
	if err != nil {
		tb.Fatal(err)
	}
	var content bytes.Buffer
	if err := errors.Join(r.store.SnapshotTo(&content, nil), primary.Restore(&content, nil)); err != nil {
		tb.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.primary = primary
	r.answer = etcdapi.New(etcdapi.Options{Store: primary, Lessor: r.lessor, Replicator: leading{r}}).AnswerAsk
	return primary
}

// leading is the primary's leader, who has all that was acknowledged.
type leading struct{ *Replicator }

// ReadBarrier returns at once.
func (leading) ReadBarrier(context.Context, replication.Level) error { return nil }

// applies returns the store that commands are applied to.
func (r *Replicator) applies() *kv.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.primary != nil {
		return r.primary
	}
	return r.store
}
