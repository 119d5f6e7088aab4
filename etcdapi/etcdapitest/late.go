package etcdapitest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
)

// Late makes the region one that shows its history late, from now on. What comes is applied in the primary's store,
// which is returned, and is not shown here. Nothing is under way when it is called.
func (r *Replicator) Late(tb testing.TB) *kv.Store {
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
	r.primary, r.unsure = primary, fmt.Errorf("%w: on purpose", replication.ErrDelayed)
	return primary
}

// applies returns the store that commands are applied to.
func (r *Replicator) applies() *kv.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.primary != nil {
		return r.primary
	}
	return r.store
}
