package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A secondary that outgrows its quota stops the writes of the whole fleet; reads and deletes go on everywhere, and
// once there is room again and the alarm is disarmed, writes do.
func TestASecondaryOutOfSpace(t *testing.T) {
	us, eu := testConfig(t, "us-1"), testConfig(t, "eu-1")
	us.Replication.RegionID, us.Replication.InitialPrimary = "us", "us"
	eu.Replication.RegionID, eu.Replication.InitialPrimary = "eu", "us"
	us.Replication.Regions = map[string][]string{"eu": {eu.ListenPeer}}
	eu.Replication.Regions = map[string][]string{"us": {us.ListenPeer}}
	eu.QuotaBytes = 8 << 20
	us.Store.MemTableBytes, eu.Store.MemTableBytes = 1<<20, 1<<20
	runNode(t, us)
	runNode(t, eu)
	primary, secondary := etcdClient(t, us, TLS{}), etcdClient(t, eu, TLS{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // a busy machine
	defer cancel()
	value := make([]byte, 256<<10) // which does not compress
	filled, err := 0, error(nil)
	eventually(t, "a put", func(ctx context.Context) bool {
		_, err := primary.Put(ctx, "fill/", "")
		return err == nil
	})
	for filled = 1; err == nil && filled < 1000; filled++ {
		rand.Read(value)
		_, err = primary.Put(ctx, fmt.Sprintf("fill/%d", filled), string(value))
	}
	if filled--; !errors.Is(err, rpctypes.ErrNoSpace) || filled < 10 {
		t.Fatalf("after %d puts: %v", filled, err)
	}
	eventually(t, "the alarm is known at the secondary", func(ctx context.Context) bool {
		_, err := secondary.Put(ctx, "k", "v")
		return errors.Is(err, rpctypes.ErrNoSpace)
	})
	alarms, err := primary.AlarmList(ctx)
	if err != nil || len(alarms.Alarms) != 1 {
		t.Fatalf("alarms: %v, %v", alarms, err)
	}
	there, err := primary.Get(ctx, "fill/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || there.Count != int64(filled) {
		t.Fatalf("%d keys were acknowledged, and there is %v: %v", filled, there, err)
	}
	revision := int64(0)
	eventually(t, "a delete", func(ctx context.Context) bool {
		deleted, err := secondary.Delete(ctx, "fill/", clientv3.WithPrefix())
		if err == nil {
			revision = deleted.Header.Revision
		}
		return err == nil
	})
	eventually(t, "a compaction", func(ctx context.Context) bool {
		_, err := primary.Compact(ctx, revision, clientv3.WithCompactPhysical())
		return err == nil || errors.Is(err, rpctypes.ErrCompacted)
	})
	eventually(t, "a put after the alarm was disarmed", func(ctx context.Context) bool {
		if _, err := primary.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
			return false
		}
		_, err := primary.Put(ctx, "k", "v")
		return err == nil
	})
}
