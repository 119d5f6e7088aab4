package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
	"github.com/mimir-kv/mimir/kv/command"
)

// today is the history that the fleet has, through the etcd API of any node. It implements replay.Fleet.
type today struct {
	client *clientv3.Client
	ends   time.Duration // endTime, but in tests
}

const (
	callTimeout = time.Minute
	pageKeys    = 512
	// endPause is how long after it was asked about a lease that ends it is asked again, and endTime for how long that
	// goes on: what keeps the fleet from writing, as a full disk, takes somebody who sees it.
	endPause, endTime = 200 * time.Millisecond, 15 * time.Minute
)

// today returns the fleet's history. The caller closes its client. What speaks against how it asks was told before, by
// the client that asks the same endpoints for the tail.
func (n *connection) today(ctx context.Context) (*today, error) {
	user, password, err := n.who.parts()
	if err != nil {
		return nil, err
	}
	secure, err := n.discreetTLS(n.endpoints, io.Discard)
	if err != nil {
		return nil, err
	}
	return todayBy(ctx, clientv3.Config{
		Endpoints: n.endpoints, TLS: secure, DialTimeout: 5 * time.Second, Username: user, Password: password,
	})
}

// todayBy returns what a client of the etcd API has for today's history. The caller closes it.
func todayBy(ctx context.Context, c clientv3.Config) (*today, error) {
	c.Context, c.MaxCallSendMsgSize = ctx, 64<<20
	c.Logger = zap.NewNop() // errors are returned
	client, err := clientv3.New(c)
	if err != nil {
		return nil, err
	}
	return &today{client: client, ends: endTime}, nil
}

// Keys implements replay.Fleet. What is too much for one answer is asked for in parts.
func (t *today) Keys(ctx context.Context, keys []string, at int64) (now, then []*mvccpb.KeyValue, err error) {
	var reads []clientv3.Op
	for _, k := range keys {
		if reads = append(reads, clientv3.OpGet(k)); at != 0 {
			reads = append(reads, clientv3.OpGet(k, clientv3.WithRev(at)))
		}
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	answer, err := t.client.Txn(bounded).Then(reads...).Commit()
	cancel()
	if tooMuch(err) && len(keys) > 1 {
		half := len(keys) / 2
		if now, then, err = t.Keys(ctx, keys[:half], at); err != nil {
			return nil, nil, err
		}
		restNow, restThen, err := t.Keys(ctx, keys[half:], at)
		return append(now, restNow...), append(then, restThen...), err
	}
	if err != nil {
		return nil, nil, meaning(err)
	}
	for i, r := range answer.Responses {
		var kv *mvccpb.KeyValue
		if found := r.GetResponseRange().GetKvs(); len(found) > 0 {
			kv = found[0]
		}
		if at != 0 && i%2 == 1 {
			then = append(then, kv)
		} else {
			now = append(now, kv)
		}
	}
	return now, then, nil
}

// tooMuch says that an answer, or a transaction, is larger than the fleet allows.
func tooMuch(err error) bool {
	return codeOf(err) == codes.ResourceExhausted
}

// isAway says that the fleet did not answer: it may do so to the next question.
func isAway(err error) bool {
	code := codeOf(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded)
}

func codeOf(err error) codes.Code {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code()
	}
	return grpcstatus.Code(err)
}

// meaning returns an error as replay knows it.
func meaning(err error) error {
	known := rpctypes.Error(err)
	switch {
	case errors.Is(known, rpctypes.ErrCompacted):
		return replay.ErrCompacted
	case errors.Is(known, rpctypes.ErrLeaseNotFound):
		return replay.ErrNoLease
	case errors.Is(known, rpctypes.ErrLeaseExist):
		return replay.ErrLeaseExists
	case errors.Is(known, rpctypes.ErrTooManyOps), errors.Is(known, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: %w", replay.ErrTooLarge, known)
	}
	return known
}

// Span implements replay.Fleet.
func (t *today) Span(
	ctx context.Context, sp command.Span, at int64, visit func(*mvccpb.KeyValue),
) (revision int64, err error) {
	from, end := sp.Interval()
	if end == nil {
		end = []byte{0}
	}
	for page := int64(pageKeys); ; {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		answer, err := t.client.Get(bounded, string(from), clientv3.WithRange(string(end)), clientv3.WithRev(at),
			clientv3.WithLimit(page))
		cancel()
		if tooMuch(err) && page > 1 {
			page /= 2
			continue
		}
		if err != nil {
			return 0, meaning(err)
		}
		if at == 0 {
			at = answer.Header.Revision
		}
		for _, kv := range answer.Kvs {
			visit(kv)
		}
		if !answer.More || len(answer.Kvs) == 0 {
			return at, nil
		}
		from = append(answer.Kvs[len(answer.Kvs)-1].Key, 0)
	}
}

// Txn implements replay.Fleet.
func (t *today) Txn(ctx context.Context, q *pb.TxnRequest) (*pb.TxnResponse, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := pb.NewKVClient(t.client.ActiveConnection()).Txn(bounded, q)
	if err != nil {
		return nil, meaning(err)
	}
	return answer, nil
}

// Lease implements replay.Fleet. It waits for the end of a lease of which that has begun, or was asked for: until then
// the lease can be neither granted nor used, and whether it lives on is not known. Meanwhile a fleet that does not
// answer is asked again.
func (t *today) Lease(ctx context.Context, id int64) (keys []string, err error) {
	waiting, cancel := context.WithTimeout(ctx, t.ends)
	defer cancel()
	for ends := false; ; {
		answer, err := t.left(waiting, id)
		again := waiting.Err() != nil || ends && isAway(err)
		switch {
		case err != nil && (!again || ctx.Err() != nil):
			return nil, fmt.Errorf("lease %x: %w", id, err)
		case err != nil: // what ends it may be what keeps the fleet from answering
		case answer.TTL > 0:
			for _, k := range answer.Keys {
				keys = append(keys, string(k))
			}
			return keys, nil
		case answer.GrantedTTL <= 0:
			return nil, replay.ErrNoLease
		default:
			ends = true
		}
		select {
		case <-time.After(endPause):
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("lease %x ends, and is not gone yet: %w", id, ctx.Err())
			}
			return nil, fmt.Errorf("lease %x ends, and is not gone after %v: what is done is done, start again once "+
				"the fleet writes: %w", id, t.ends, cmp.Or(err, waiting.Err()))
		}
	}
}

// left returns what is left of a lease, with its keys.
func (t *today) left(ctx context.Context, id int64) (*clientv3.LeaseTimeToLiveResponse, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := t.client.TimeToLive(bounded, clientv3.LeaseID(id), clientv3.WithAttachedKeys())
	if err != nil {
		return nil, meaning(err)
	}
	return answer, nil
}

// Grant implements replay.Fleet. The lease is kept alive until the client is closed.
func (t *today) Grant(ctx context.Context, id, ttl int64) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	connection := pb.NewLeaseClient(t.client.ActiveConnection())
	if _, err := connection.LeaseGrant(bounded, &pb.LeaseGrantRequest{ID: id, TTL: ttl}); err != nil {
		return meaning(err)
	}
	alive, err := t.client.KeepAlive(t.client.Ctx(), clientv3.LeaseID(id))
	if err != nil {
		return err
	}
	go func() {
		for range alive { // it ends with the lease, or the client
		}
	}()
	return nil
}

// Revoke implements replay.Fleet.
func (t *today) Revoke(ctx context.Context, id int64) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := t.client.Revoke(bounded, clientv3.LeaseID(id)); err != nil {
		return meaning(err)
	}
	return nil
}
