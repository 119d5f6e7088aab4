package compat

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func alarmOf(action pb.AlarmRequest_AlarmAction, member uint64, kind pb.AlarmType) asked {
	return sent(&pb.AlarmRequest{Action: action, MemberID: member, Alarm: kind})
}

// Alarms are listed, raised and disarmed, and keep from writing, as in etcd.
func TestAlarms(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.grant(1)
	const get, raise, disarm = pb.AlarmRequest_GET, pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE
	put := &pb.PutRequest{Key: []byte("a")}
	writes := []proto.Message{
		put, &pb.DeleteRangeRequest{Key: []byte("b")}, &pb.LeaseGrantRequest{ID: 7, TTL: 100},
		&pb.LeaseRevokeRequest{ID: 7}, &pb.RangeRequest{Key: []byte("a")}, &pb.CompactionRequest{Revision: 1},
		&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}}},
		&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{
			RequestRange: &pb.RangeRequest{Key: []byte("a")}}}}},
		&pb.LeaseKeepAliveRequest{ID: 1}, &pb.LeaseTimeToLiveRequest{ID: 1}, &pb.LeaseLeasesRequest{},
	}
	p.both("none", alarmOf(get, 0, pb.AlarmType_NONE))
	p.both("raise none", alarmOf(raise, 5, pb.AlarmType_NONE))
	p.both("disarm what is not raised", alarmOf(disarm, 5, pb.AlarmType_NOSPACE))
	p.both("disarm none", alarmOf(disarm, 5, pb.AlarmType_NONE))
	for _, kind := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		p.both("raise", alarmOf(raise, 5, kind))
		p.both("raise again", alarmOf(raise, 5, kind))
		p.both("all", alarmOf(get, 0, pb.AlarmType_NONE))
		p.both("of a kind", alarmOf(get, 0, kind))
		p.both("of another kind", alarmOf(get, 0, pb.AlarmType_NOSPACE+pb.AlarmType_CORRUPT-kind))
		p.both("of another member", alarmOf(get, 6, kind))
		for _, r := range writes {
			p.both(kind.String(), sent(r))
		}
		p.both("disarm another", alarmOf(disarm, 6, kind))
		p.both("disarm", alarmOf(disarm, 5, kind))
		p.both("none left", alarmOf(get, 0, pb.AlarmType_NONE))
		p.both("after it", sent(put))
	}
}

// What is not told of the engine or of identities is told alike.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.both("put", sent(&pb.PutRequest{Key: []byte("a")}))
	p.both("defragment", func(ctx context.Context, s *side) (proto.Message, error) {
		return s.maintain.Defragment(ctx, &pb.DefragmentRequest{})
	})
	p.both("status", func(ctx context.Context, s *side) (proto.Message, error) {
		r, err := s.maintain.Status(ctx, &pb.StatusRequest{})
		if err == nil && (r.Leader == 0 || r.DbSize == 0 || r.DbSizeInUse == 0 || r.RaftTerm == 0) {
			t.Errorf("%s: status: %v", s.name, r)
		}
		if err == nil {
			r.Leader, r.DbSize, r.DbSizeInUse, r.RaftTerm, r.RaftIndex, r.RaftAppliedIndex = 0, 0, 0, 0, 0, 0
			r.DbSizeQuota = 0
		}
		return r, err
	})
	for _, version := range []string{"", "x", "3", "3.5", "3.7", "3.7.0", "3.8.1", "4.0"} {
		for action := range pb.DowngradeRequest_DowngradeAction_name {
			p.both("downgrade "+version, func(ctx context.Context, s *side) (proto.Message, error) {
				return s.maintain.Downgrade(ctx, &pb.DowngradeRequest{
					Action: pb.DowngradeRequest_DowngradeAction(action), Version: version})
			})
		}
	}
	p.both("downgrade to nothing", func(ctx context.Context, s *side) (proto.Message, error) {
		return s.maintain.Downgrade(ctx, &pb.DowngradeRequest{Action: 9, Version: "3.6"})
	})
	p.both("move the leader to nobody", func(ctx context.Context, s *side) (proto.Message, error) {
		return s.maintain.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: 99})
	})
	p.both("hash of the future", sent(&pb.HashKVRequest{Revision: 99}))
}

// A snapshot says how much is to come, its version, and last its digest; one that is not read ends with its deadline.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for i := range 6 {
		value := make([]byte, 1<<20)
		rand.Read(value)
		for _, s := range p.sides {
			if a := s.do(t.Context(), &pb.PutRequest{Key: []byte{'k', byte(i)}, Value: value}); a.code != "" {
				t.Fatal(a)
			}
		}
	}
	for _, s := range p.sides {
		stream, err := s.maintain.Snapshot(t.Context(), &pb.SnapshotRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var all, last []byte
		var left uint64
		version := ""
		for n := 0; ; n++ {
			r, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(s.name, err)
			}
			if n > 0 && r.RemainingBytes > left {
				t.Errorf("%s: %d bytes are left, and then %d", s.name, left, r.RemainingBytes)
			}
			all, last, left, version = append(all, last...), r.Blob, r.RemainingBytes, r.Version
		}
		digest := sha256.Sum256(all)
		if !bytes.Equal(digest[:], last) || len(all)%512 != 0 || version != "3.7.0" || left != 0 {
			t.Errorf("%s: %d bytes, digest of %d, version %s, left %d", s.name, len(all), len(last), version, left)
		}
		unread(t, s)
	}
}

// unread wants a snapshot that is not read in time to end with its deadline, for the client library too.
func unread(t *testing.T, s *side) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		snapshot, err := c.SnapshotWithVersion(ctx)
		if err == nil {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond) // beyond the deadline, on both sides
			_, err = io.Copy(io.Discard, snapshot.Snapshot)
			snapshot.Snapshot.Close()
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: a snapshot that is not read ends with %v", s.name, err)
		}
	}
}
