package etcdapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/watch"
)

// A lock and an election are queues of keys: NAME/LEASE, of which the one that was created first has it. Who waits,
// waits for the key before his own. That is the form of etcd's client library, whose users meet those of these
// services.

const (
	// queueTTL is of the leases that are granted to who comes without one, in seconds.
	queueTTL = 60
	// queuePause is between the questions whose turn it is while the primary does not answer them.
	queuePause = 100 * time.Millisecond
)

// errPlaceLost says that a key in a queue is there no more: its lease has ended, or somebody deleted it.
var errPlaceLost = errors.New("etcdapi: the place in the queue is lost")

// place is one in a queue. The request that has it is its owner.
type place struct {
	*kvServer
	queue   []byte // what its keys begin with
	key     []byte
	lease   int64
	created int64 // the revision of key
}

// queueOf returns what the keys of a queue begin with.
func queueOf(name []byte) []byte { return append(bytes.Clone(name), '/') }

// session returns the lease that was named, or a new one, which nobody renews but who asked for it. It waits for no
// other region: the key that gets the lease does.
func (s *kvServer) session(ctx context.Context, lease int64) (int64, error) {
	if lease != 0 {
		return lease, nil
	}
	granted, err := (&leaseServer{API: s.API}).grant(ctx, &pb.LeaseGrantRequest{TTL: queueTTL}, true)
	return granted.GetID(), err
}

// enter puts the key of a lease at the end of a queue, unless it is in there. first says that it has its turn at once;
// the response is that to the transaction, of which the first operation read the key if it was there. Who is in goes on
// as he was let in.
func (s *kvServer) enter(
	ctx context.Context, name []byte, lease int64, value []byte,
) (p *place, first bool, response *pb.TxnResponse, err error) {
	named := lease != 0
	if lease, err = s.session(ctx, lease); err != nil {
		return nil, false, nil, err
	}
	p = &place{kvServer: s, queue: queueOf(name), lease: lease}
	p.key = fmt.Appendf(bytes.Clone(p.queue), "%x", lease)
	oldestOne := firstOf(p.queue)
	oldestOne.KeysOnly = true
	head := rangeOp(oldestOne)
	response, err = s.Txn(ctx, &pb.TxnRequest{
		Compare: createdAt(p.key, 0),
		Success: []*pb.RequestOp{putOp(&pb.PutRequest{Key: p.key, Value: value, Lease: lease}), head},
		Failure: []*pb.RequestOp{rangeOp(&pb.RangeRequest{Key: p.key}), head},
	})
	if err != nil {
		if !named {
			s.forget(ctx, lease)
		}
		return nil, false, nil, err
	}
	waitingOf(ctx).admit()
	p.created = response.Header.Revision
	if !response.Succeeded {
		p.created = response.Responses[0].GetResponseRange().Kvs[0].CreateRevision
	}
	oldest := response.Responses[1].GetResponseRange().Kvs
	return p, len(oldest) == 0 || oldest[0].CreateRevision == p.created, response, nil
}

// forget ends a lease that was granted for who has not come in, as far as he knows: his key may be there all the same,
// and nobody knows the lease to end it. One that he named himself he can end, or come again with.
func (s *kvServer) forget(ctx context.Context, lease int64) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.now().RequestTimeout)
	defer cancel()
	c := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: lease})
	if _, err := write(bounded, s.API, s.itself().alone(), c, command.DecodeLeaseRevokeResult); err != nil {
		s.logger.Info("a key of a lock or an election may stay until its lease ends", "lease", lease, "err", err)
	}
}

// turn returns once no key of the queue is older than this one, with the header of the read that says so. It ends with
// errPlaceLost when the key is gone: with its lease, at the latest. An outage of the primary is outwaited for as long
// as the lease can live without it, and a node that hears of nothing notices that after as long.
func (p *place) turn(ctx context.Context) (*pb.ResponseHeader, error) {
	before := &pb.RangeRequest{
		Key: p.queue, RangeEnd: endOf(p.queue), Limit: 1, MaxCreateRevision: p.created - 1, KeysOnly: true,
		SortOrder: pb.RangeRequest_DESCEND, SortTarget: pb.RangeRequest_CREATE,
	}
	own := &pb.RangeRequest{Key: p.key, KeysOnly: true}
	for {
		seen, err := p.look(ctx, []*pb.RequestOp{rangeOp(own), rangeOp(before)})
		if err != nil {
			return nil, err
		}
		mine, older := seen.Responses[0].GetResponseRange().Kvs, seen.Responses[1].GetResponseRange().Kvs
		switch {
		case len(mine) == 0 || mine[0].CreateRevision != p.created:
			return nil, errPlaceLost
		case len(older) == 0:
			return seen.Header, p.statusOf(ctx, ctx.Err()) // it is nobody's turn who has left by now
		}
		err = p.untilDeleted(ctx, p.patience(), seen.Header.Revision+1, p.key, older[0].Key)
		if err != nil {
			return nil, err
		}
	}
}

// patience is how long the lease lives without being renewed.
func (p *place) patience() time.Duration {
	if ttl, ok := kv.LeaseTTL(p.store, p.lease); ok {
		return time.Duration(ttl) * time.Second
	}
	return queueTTL * time.Second
}

// look reads with the primary's word for it. Users that are changed meanwhile have it read anew.
func (p *place) look(ctx context.Context, reads []*pb.RequestOp) (*pb.TxnResponse, error) {
	patience := p.patience()
	for began := p.clock.Now(); ; {
		seen, err := p.Txn(ctx, &pb.TxnRequest{Success: reads})
		again := status.Code(err) == codes.Unavailable || errors.Is(err, rpctypes.ErrGRPCAuthOldRevision)
		if !again || p.clock.Now().Sub(began) >= patience {
			return seen, err
		}
		if !p.pauses(ctx) {
			return nil, p.statusOf(ctx, err)
		}
	}
}

// pauses waits before a question is asked again, and reports whether it is to be.
func (s *kvServer) pauses(ctx context.Context) bool {
	pause := s.clock.NewTimer(queuePause)
	defer pause.Stop()
	select {
	case <-pause.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// leave deletes the key of who waits no more, so that it does not get its turn; if that fails it goes with its lease.
// The request may be over, and its user gone: that he was let in with the key is enough.
func (p *place) leave(ctx context.Context) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.limits.now().RequestTimeout)
	defer cancel()
	c := command.EncodeTxn(deletion(p.key, p.created))
	if _, err := write(bounded, p.API, p.itself().alone(), c, command.DecodeTxnResult); err != nil {
		p.logger.Info("a key of a lock or an election stays until its lease ends", "lease", p.lease, "err", err)
	}
}

// deletion deletes a key if it is the one that was created at a revision.
func deletion(key []byte, created int64) *pb.TxnRequest {
	return &pb.TxnRequest{
		Compare: createdAt(key, created),
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{
			RequestDeleteRange: &pb.DeleteRangeRequest{Key: key},
		}}},
	}
}

// errDeleted ends the wait for the first of several keys to be deleted, which one may be.
var errDeleted = errors.New("etcdapi: deleted")

// untilDeleted returns nil once one of the keys is deleted at a revision or later, or this node's history does not
// tell, for longest at most: where none comes, as at a node that is cut off, none tells.
func (a *kvServer) untilDeleted(ctx context.Context, longest time.Duration, from int64, keys ...[]byte) error {
	all, waiting := errgroup.WithContext(ctx)
	all.Go(func() error {
		late := a.clock.NewTimer(longest)
		defer late.Stop()
		select {
		case <-late.C():
			return errDeleted
		case <-waiting.Done():
			return waiting.Err()
		}
	})
	for _, key := range keys {
		all.Go(func() error {
			w, err := a.store.Watch(watch.Request{Key: key, StartRevision: from, NoPut: true})
			if err != nil {
				return err
			}
			defer w.Close()
			if _, err := w.Next(waiting); err != nil && !isCompacted(err) {
				return err
			}
			return errDeleted
		})
	}
	if err := all.Wait(); !errors.Is(err, errDeleted) {
		return a.statusOf(ctx, err)
	}
	return nil
}

// asClient returns what a request says of an error of another that it makes: etcd makes that with its client library,
// which knows the texts of etcd's errors, and drops their codes.
func asClient(err error) error {
	var known rpctypes.EtcdError
	if errors.As(rpctypes.Error(err), &known) {
		return status.Error(codes.Unknown, known.Error())
	}
	return err
}

// firstOf reads the key of a queue whose turn it is.
func firstOf(queue []byte) *pb.RangeRequest {
	return &pb.RangeRequest{Key: queue, RangeEnd: endOf(queue), Limit: 1,
		SortOrder: pb.RangeRequest_ASCEND, SortTarget: pb.RangeRequest_CREATE}
}

// endOf returns the end of the range of a queue's keys, which begin with its name and a slash.
func endOf(queue []byte) []byte { return append(bytes.Clone(queue[:len(queue)-1]), '/'+1) }

func createdAt(key []byte, revision int64) []*pb.Compare {
	return []*pb.Compare{{
		Key: key, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: revision},
	}}
}

func rangeOp(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func putOp(r *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
}
