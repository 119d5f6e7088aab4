package etcdapi

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// kvServer is the KV service.
type kvServer struct {
	pb.UnimplementedKVServer
	*API
}

// Range reads from this node's store.
func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := command.CheckRange(r); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	var response *pb.RangeResponse
	err := s.read(ctx, r, r.Serializable, r.Revision, func(taken *answer, _ func() error) (err error) {
		response, err = s.store.RangeTaking(ctx, r, taken.take)
		if len(response.GetKvs()) == 1 {
			taken.holds(proto.Size(response))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.fill(response.Header)
	return response, nil
}

// RangeStream reads a range in chunks of bounded size, all of one revision.
func (s *kvServer) RangeStream(r *pb.RangeRequest, stream grpc.ServerStreamingServer[pb.RangeStreamResponse]) error {
	ctx := stream.Context()
	if err := checkRangeStream(r); err != nil {
		return s.statusOf(ctx, err)
	}
	return whileRead(s.clock, func(u *unread) error {
		if err := u.wait(0, func() error { return s.room(ctx) }); err != nil {
			return s.statusOf(ctx, err)
		}
		return s.sendRange(r, stream, u)
	})
}

func (s *kvServer) sendRange(
	r *pb.RangeRequest, stream grpc.ServerStreamingServer[pb.RangeStreamResponse], u *unread,
) error {
	ctx := stream.Context()
	return s.read(ctx, r, r.Serializable, r.Revision, func(taken *answer, sure func() error) error {
		return s.store.RangeStream(ctx, r, taken.take, func(chunk *pb.RangeResponse) error {
			taken.made()
			if err := sure(); err != nil { // all chunks are of the revision of the first
				return err
			}
			if chunk.Header != nil {
				s.fill(chunk.Header)
			}
			return u.wait(proto.Size(chunk), func() error {
				if err := stream.Send(&pb.RangeStreamResponse{RangeResponse: chunk}); err != nil {
					return err
				}
				return s.room(ctx)
			})
		})
	})
}

// Put writes one key.
func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	if err := command.CheckPut(r); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	who, err := s.asks(ctx, s.mayDo(ctx, r))
	if err != nil {
		return nil, err
	}
	if err := s.checkAlarms(ctx, againstSpace); err != nil {
		return nil, err
	}
	if r.PrevKv || r.IgnoreValue {
		done, err := s.admit(ctx, false, func(ctx context.Context, limit int64) (int64, error) {
			return s.store.Estimator().Put(r, limit)
		})
		if err != nil {
			return nil, err
		}
		defer done()
	}
	return write(ctx, s.API, who.touching(span{from: r.Key}), command.EncodePut(r), command.DecodePutResult)
}

// DeleteRange deletes keys.
func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	if err := command.CheckDeleteRange(r); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	who, err := s.asks(ctx, s.mayDo(ctx, r))
	if err != nil {
		return nil, err
	}
	if err := s.checkAlarms(ctx, againstAll); err != nil {
		return nil, err
	}
	done, err := s.admit(ctx, len(r.RangeEnd) > 0, func(ctx context.Context, limit int64) (int64, error) {
		return s.store.Estimator().Delete(ctx, r, limit)
	})
	if err != nil {
		return nil, err
	}
	defer done()
	who = who.touching(span{r.Key, r.RangeEnd})
	return write(ctx, s.API, who, command.EncodeDeleteRange(r), command.DecodeDeleteRangeResult)
}

// Txn is proposed if it may write, and read from this node's store if it cannot.
func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := command.CheckTxn(r, s.limits.now().TxnOps); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	if command.IsReadOnly(r) {
		return s.readOnlyTxn(ctx, r)
	}
	who, err := s.asks(ctx, s.mayDo(ctx, r))
	if err != nil {
		return nil, err
	}
	against := againstAll
	if command.TxnPuts(r) {
		against = againstSpace
	}
	if err := s.checkAlarms(ctx, against); err != nil {
		return nil, err
	}
	done, err := s.admit(ctx, command.NamesSpans(r), func(ctx context.Context, limit int64) (int64, error) {
		return s.store.Estimator().Txn(ctx, r, limit)
	})
	if err != nil {
		return nil, err
	}
	defer done()
	return write(ctx, s.API, who.touching(touchedBy(r)...), command.EncodeTxn(r), command.DecodeTxnResult)
}

func (s *kvServer) readOnlyTxn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	var response *pb.TxnResponse
	err := s.read(ctx, r, isSerializable(r), namedRevision(r), func(taken *answer, _ func() error) (err error) {
		response, err = s.store.ReadOnlyTxn(ctx, r, taken.take)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.fill(response.Header)
	return response, nil
}

// Compact puts the revisions before the given one out of reach, in every region. Their space is freed in the
// background, on each node by itself; with physical it is freed on this one before the answer.
func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	who, err := s.commands(ctx, isRoot)
	if err != nil {
		return nil, err
	}
	if err := s.checkAlarms(ctx, againstAll); err != nil {
		return nil, err
	}
	answer, err := write(ctx, s.API, who, command.EncodeCompaction(r), command.DecodeCompactionResult)
	if err == nil && r.Physical {
		err = s.freed(ctx)
	}
	return answer, err
}

// freed returns once what was compacted before takes no room in the store of this node. The compaction stands, whatever
// becomes of that.
func (s *kvServer) freed(ctx context.Context) error {
	// It may have been applied at the node that takes the writes alone.
	bounded, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	err := s.replicator.ReadBarrier(bounded, replication.Linearizable)
	if err == nil || errors.Is(err, replication.ErrDelayed) {
		err = kv.RemoveOld(ctx, s.store)
	}
	if err != nil {
		return s.statusOf(ctx, fmt.Errorf("the revision is compacted; it is not known that its room is free here: %w",
			err))
	}
	return nil
}

// isSerializable reports whether every operation of a read-only transaction says that it may be stale. One without
// operations only compares, and is linearizable.
func isSerializable(r *pb.TxnRequest) bool {
	if len(r.Success)+len(r.Failure) == 0 {
		return false
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			nested := op.GetRequestTxn()
			if !op.GetRequestRange().GetSerializable() && (nested == nil || !isSerializable(nested)) {
				return false
			}
		}
	}
	return true
}

// namedRevision returns the highest revision at which a read-only transaction reads, 0 if it names none.
func namedRevision(r *pb.TxnRequest) (named int64) {
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			named = max(named, op.GetRequestRange().GetRevision())
			if nested := op.GetRequestTxn(); nested != nil {
				named = max(named, namedRevision(nested))
			}
		}
	}
	return named
}

func checkRangeStream(r *pb.RangeRequest) error {
	if err := command.CheckRange(r); err != nil {
		return err
	}
	byKey := r.SortTarget == pb.RangeRequest_KEY && r.SortOrder == pb.RangeRequest_ASCEND
	if r.SortOrder != pb.RangeRequest_NONE && !byKey {
		return status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	}
	if r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0 {
		return status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
	}
	return nil
}
