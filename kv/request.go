package kv

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// request is a decoded command. Exactly one of its fields is set, put if no pointer is.
type request struct {
	put         pb.PutRequest // aliases the command
	deleteRange *pb.DeleteRangeRequest
	txn         *pb.TxnRequest
	compaction  *pb.CompactionRequest
	grant       *pb.LeaseGrantRequest
	revoke      *pb.LeaseRevokeRequest
}

// decodeCommand decodes a command into r, which is overwritten.
func decodeCommand(p []byte, r *request) error {
	r.deleteRange, r.txn, r.compaction, r.grant, r.revoke = nil, nil, nil, nil, nil
	if len(p) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	var m proto.Message
	switch t := tag(p[0]); t {
	case tagPut:
		return decodePut(p[1:], &r.put)
	case tagDeleteRange:
		r.deleteRange = new(pb.DeleteRangeRequest)
		m = r.deleteRange
	case tagTxn:
		r.txn = new(pb.TxnRequest)
		m = r.txn
	case tagCompaction:
		r.compaction = new(pb.CompactionRequest)
		m = r.compaction
	case tagLeaseGrant:
		r.grant = new(pb.LeaseGrantRequest)
		m = r.grant
	case tagLeaseRevoke:
		r.revoke = new(pb.LeaseRevokeRequest)
		m = r.revoke
	default:
		return fmt.Errorf("%w: tag %d", ErrMalformed, t)
	}
	if err := proto.Unmarshal(p[1:], m); err != nil {
		return fmt.Errorf("%w: tag %d: %w", ErrMalformed, p[0], err)
	}
	return nil
}

// isPlainPut reports whether r is a put without options, the command that is to be fast.
func (r *request) isPlainPut() bool {
	return r.deleteRange == nil && r.txn == nil && r.compaction == nil && r.grant == nil && r.revoke == nil &&
		r.put.Lease == 0 && !r.put.PrevKv && !r.put.IgnoreValue && !r.put.IgnoreLease
}

// Field numbers of PutRequest.
const (
	putKey         = 1
	putValue       = 2
	putLease       = 3
	putPrevKV      = 4
	putIgnoreValue = 5
	putIgnoreLease = 6
)

// decodePut decodes the hot command without a copy: key and value alias p.
func decodePut(p []byte, r *pb.PutRequest) error {
	r.Key, r.Value, r.Lease, r.PrevKv, r.IgnoreValue, r.IgnoreLease = nil, nil, 0, false, false, false
	for len(p) > 0 {
		field, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return malformedPut(n)
		}
		p = p[n:]
		switch {
		case kind == protowire.BytesType && (field == putKey || field == putValue):
			b, n := protowire.ConsumeBytes(p)
			if n < 0 {
				return malformedPut(n)
			}
			if p = p[n:]; field == putKey {
				r.Key = b
			} else {
				r.Value = b
			}
		case kind == protowire.VarintType && field >= putLease && field <= putIgnoreLease:
			u, n := protowire.ConsumeVarint(p)
			if n < 0 {
				return malformedPut(n)
			}
			p = p[n:]
			setPutField(r, field, u)
		default:
			if n = protowire.ConsumeFieldValue(field, kind, p); n < 0 {
				return malformedPut(n)
			}
			p = p[n:]
		}
	}
	return nil
}

func setPutField(r *pb.PutRequest, field protowire.Number, u uint64) {
	switch field {
	case putLease:
		r.Lease = int64(u)
	case putPrevKV:
		r.PrevKv = u != 0
	case putIgnoreValue:
		r.IgnoreValue = u != 0
	case putIgnoreLease:
		r.IgnoreLease = u != 0
	}
}

func malformedPut(n int) error {
	return fmt.Errorf("%w: put: %w", ErrMalformed, protowire.ParseError(n))
}

// needsScan reports whether a command reads more than single keys at the current revision, so that the batch it is applied
// in has to be an index too.
func (r *request) needsScan() bool {
	switch {
	case r.revoke != nil:
		return true
	case r.deleteRange != nil:
		return len(r.deleteRange.RangeEnd) > 0
	case r.txn != nil:
		return txnNeedsScan(r.txn)
	}
	return false
}

func txnNeedsScan(t *pb.TxnRequest) bool {
	for _, c := range t.Compare {
		if len(c.RangeEnd) > 0 {
			return true
		}
	}
	for _, branch := range [][]*pb.RequestOp{t.Success, t.Failure} {
		for _, op := range branch {
			r, d, n := op.GetRequestRange(), op.GetRequestDeleteRange(), op.GetRequestTxn()
			if r != nil && (len(r.RangeEnd) > 0 || r.Revision > 0) || d != nil && len(d.RangeEnd) > 0 || n != nil && txnNeedsScan(n) {
				return true
			}
		}
	}
	return false
}
