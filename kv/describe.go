package kv

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// DecodeCommand returns the request that a command does, for people and programs that read tails: one of PutRequest, DeleteRangeRequest,
// TxnRequest, CompactionRequest, LeaseGrantRequest and LeaseRevokeRequest. The error is ErrMalformed.
func DecodeCommand(p []byte) (proto.Message, error) {
	if len(p) == 0 {
		return nil, fmt.Errorf("%w: empty command", ErrMalformed)
	}
	var m proto.Message
	switch tag(p[0]) {
	case tagPut:
		m = new(pb.PutRequest)
	case tagDeleteRange:
		m = new(pb.DeleteRangeRequest)
	case tagTxn:
		m = new(pb.TxnRequest)
	case tagCompaction:
		m = new(pb.CompactionRequest)
	case tagLeaseGrant:
		m = new(pb.LeaseGrantRequest)
	case tagLeaseRevoke:
		m = new(pb.LeaseRevokeRequest)
	default:
		return nil, fmt.Errorf("%w: command with tag %d", ErrMalformed, p[0])
	}
	if err := proto.Unmarshal(p[1:], m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}
