package command

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
)

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
