package etcdapi_test

import (
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// TestAWriteWhoseAnswerIsLost is done once: neither the node nor clientv3 sends it again. Who repeats it himself has it
// done once more, unless it has an id and writes that.
func TestAWriteWhoseAnswerIsLost(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	withID := func() (*clientv3.TxnResponse, error) {
		id := "requests/7f3a"
		return c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(id), "=", 0)).
			Then(clientv3.OpPut(id, ""), clientv3.OpPut("balance", "120")).Else(clientv3.OpGet(id)).Commit()
	}
	for _, w := range []struct {
		what  string
		write func() error
	}{
		{"put", func() error { _, err := c.Put(ctx, "k", "v"); return err }},
		{"put, once more", func() error { _, err := c.Put(ctx, "k", "v"); return err }},
		{"delete", func() error { _, err := c.Delete(ctx, "k"); return err }},
		{"txn with an id", func() error { _, err := withID(); return err }},
	} {
		before := n.Store.Revision()
		n.Replicator.LoseAnswers(true)
		if err := w.write(); !errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail) {
			t.Errorf("%s: %v", w.what, err)
		}
		n.Replicator.LoseAnswers(false)
		if done := n.Store.Revision() - before; done != 1 {
			t.Errorf("%s was done %d times", w.what, done)
		}
	}
	done := n.Store.Revision()
	again, err := withID()
	if err != nil || again.Succeeded || n.Store.Revision() != done {
		t.Fatalf("repeated: %+v, %v, revision %d, was %d", again, err, n.Store.Revision(), done)
	}
	if kvs := again.Responses[0].GetResponseRange().Kvs; len(kvs) != 1 || kvs[0].CreateRevision != done {
		t.Errorf("it was done at %d, and is said to be done in %v", done, kvs)
	}
}
