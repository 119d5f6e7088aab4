package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// pageKeys is how many keys a request for contents asks for. Every page counts all keys that are left, so they are
// large.
const pageKeys = 8000

// content is what a node holds, by key.
type content map[string]*mvccpb.KeyValue

// contents returns everything under a prefix as one node has it at a revision, by key. The node must have reached the
// revision.
func contents(ctx context.Context, n *localfleet.Node, prefix string, revision int64) (content, error) {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	all := content{}
	key, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		answer, err := client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithLimit(pageKeys),
			clientv3.WithRev(revision), clientv3.WithSerializable())
		if err != nil {
			return nil, fmt.Errorf("read %s at revision %d: %w", n.Config.Name, revision, err)
		}
		for _, kv := range answer.Kvs {
			all[string(kv.Key)] = kv
			key = string(kv.Key) + "\x00"
		}
		if !answer.More {
			return all, nil
		}
	}
}

// now returns the revision of a linearizable read at a node: that of the last write before it, at least.
func now(ctx context.Context, n *localfleet.Node) (revision int64, err error) {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	answer, err := client.Get(ctx, everything)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", n.Config.Name, err)
	}
	return answer.Header.Revision, nil
}

// sameContents reads everything under a prefix at a revision from a node of each region, and returns it if they hold
// the same. The revision is one that awaitEqual returned after the writers had ended: what was acknowledged is in it,
// and what was interrupted and lands only now is not, in neither region.
func sameContents(ctx context.Context, a, b *localfleet.Region, prefix string, revision int64) (content, error) {
	first, err := contents(ctx, a.Nodes[0], prefix, revision)
	if err != nil {
		return nil, err
	}
	second, err := contents(ctx, b.Nodes[len(b.Nodes)-1], prefix, revision)
	if err != nil {
		return nil, err
	}
	if len(first) != len(second) {
		return nil, fmt.Errorf("at revision %d %s holds %d keys under %s, and %s %d", revision, a.Name, len(first),
			prefix, b.Name, len(second))
	}
	for key, one := range first {
		other := second[key]
		if other == nil || one.ModRevision != other.ModRevision || one.CreateRevision != other.CreateRevision ||
			one.Version != other.Version || !bytes.Equal(one.Value, other.Value) {
			return nil, fmt.Errorf("%s is {%s} in %s and {%s} in %s", key, describe(one), a.Name, describe(other),
				b.Name)
		}
	}
	return first, nil
}

func describe(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "nothing"
	}
	return fmt.Sprintf("created at %d, modified at %d, version %d, %d bytes", kv.CreateRevision, kv.ModRevision,
		kv.Version, len(kv.Value))
}

// checkRecords wants every record, and nothing else, in both regions alike at a revision.
func (r *run) checkRecords(ctx context.Context, a, b *localfleet.Region, revision int64) error {
	held, err := sameContents(ctx, a, b, "/apt/", revision)
	if err != nil {
		return err
	}
	for _, record := range r.Records {
		kv := held[record.Key]
		if kv == nil || !bytes.Equal(kv.Value, record.Value) {
			return fmt.Errorf("%s is {%s} instead of %d bytes", record.Key, describe(kv), len(record.Value))
		}
	}
	if len(held) != len(r.Records) {
		return fmt.Errorf("%d keys instead of %d", len(held), len(r.Records))
	}
	r.line("both regions hold every record with the same revisions, versions and values")
	return nil
}

// checkHashes wants the same hash of all history up to a revision from every node.
func (r *run) checkHashes(ctx context.Context, revision int64) error {
	first := uint32(0)
	for i, n := range r.fleet.Nodes() {
		client, err := connect(n.Config.ListenClient)
		if err != nil {
			return err
		}
		answer, err := client.HashKV(ctx, n.Config.ListenClient, revision)
		client.Close()
		if err != nil {
			return fmt.Errorf("hash of %s: %w", n.Config.Name, err)
		}
		if i == 0 {
			first = answer.Hash
		} else if answer.Hash != first {
			return fmt.Errorf("at revision %d the hash of %s is %08x, but that of %s %08x", revision, n.Config.Name,
				answer.Hash, r.fleet.Nodes()[0].Config.Name, first)
		}
	}
	r.line("all %d nodes have the hash %08x at revision %d", len(r.fleet.Nodes()), first, revision)
	return nil
}

// verified has the fleet compare its regions itself.
func verified(ctx context.Context, r *run, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	status, out, errs, err := runBinary(ctx, r.Binary, "verify", "--endpoints",
		strings.Join(localfleet.Clients(r.fleet.Nodes()), ","))
	if err != nil || status != 0 {
		return errors.Join(fmt.Errorf("mimir verify: exit status %d: %s %s", status, out, errs), err)
	}
	return nil
}
