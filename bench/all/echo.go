package main

import (
	"bytes"
	"context"
	"fmt"
	"net"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// echo answers the messages of etcd with others of the same size, and keeps nothing.
type echo struct {
	pb.UnimplementedKVServer
	pb.UnimplementedLeaseServer
	value []byte
}

// serveEcho serves until ctx ends, and says where.
func serveEcho(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return echoOn(ctx, l)
}

// echoOn serves until ctx ends.
func echoOn(ctx context.Context, l net.Listener) error {
	s := grpc.NewServer(grpc.MaxConcurrentStreams(1 << 20))
	e := &echo{value: bytes.Repeat([]byte("x"), valueBytes)}
	pb.RegisterKVServer(s, e)
	pb.RegisterLeaseServer(s, e)
	context.AfterFunc(ctx, s.Stop)
	return s.Serve(l)
}

var echoed = &pb.ResponseHeader{ClusterId: 1 << 60, MemberId: 1 << 61, Revision: 1 << 20, RaftTerm: 2}

func (e *echo) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	answer := &pb.RangeResponse{Header: echoed, Count: 1}
	n := 1
	switch {
	case r.CountOnly:
		n, answer.Count = 0, 1<<20
	case r.Limit > 0:
		n, answer.Count, answer.More = int(r.Limit), 1<<20, true
	case len(r.RangeEnd) > 0:
		n, answer.Count = 100, 100
	}
	kvs := make([]mvccpb.KeyValue, n)
	for i := range kvs {
		kv := &kvs[i]
		kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version = r.Key, e.value, 1<<19, 1<<20, 2
		answer.Kvs = append(answer.Kvs, kv)
	}
	return answer, nil
}

func (*echo) Put(context.Context, *pb.PutRequest) (*pb.PutResponse, error) {
	return &pb.PutResponse{Header: echoed}, nil
}

func (*echo) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	put := &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 1 << 20}}}
	return &pb.TxnResponse{Header: echoed, Succeeded: true, Responses: []*pb.ResponseOp{{Response: put}}}, nil
}

func (*echo) LeaseGrant(_ context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return &pb.LeaseGrantResponse{Header: echoed, ID: 1 << 40, TTL: r.TTL}, nil
}

func (*echo) LeaseRevoke(context.Context, *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	return &pb.LeaseRevokeResponse{Header: echoed}, nil
}

func (*echo) LeaseKeepAlive(s pb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if err := s.Send(&pb.LeaseKeepAliveResponse{Header: echoed, ID: r.ID, TTL: 3600}); err != nil {
			return err
		}
	}
}
