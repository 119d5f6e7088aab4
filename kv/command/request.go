package command

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// Request is a decoded command. Exactly one of its fields is set, Put if no pointer is.
type Request struct {
	Put         pb.PutRequest // aliases the command
	DeleteRange *pb.DeleteRangeRequest
	Txn         *pb.TxnRequest
	Compaction  *pb.CompactionRequest
	Grant       *pb.LeaseGrantRequest
	Revoke      *pb.LeaseRevokeRequest
	Alarm       *pb.AlarmRequest
	AuthEnable  *AuthEnable
	Auth        proto.Message // of EncodeAuth

	// Identity is who asks. Own says that it was the server itself.
	Identity Identity
	Own      bool

	// Ends is the lease that Txn or Revoke is a step of the end of, Begins or GoesOn; 0 if it is none of these.
	Ends int64
	Step Step

	// Followed says that it comes from an etcd that is followed, and After at which revision it comes.
	Followed bool
	After    int64
}

// Decode decodes a command into r, which is overwritten and may alias p. The error is ErrMalformed.
func (r *Request) Decode(p []byte) error {
	r.DeleteRange, r.Txn, r.Compaction, r.Grant, r.Revoke, r.Alarm = nil, nil, nil, nil, nil, nil
	r.AuthEnable, r.Auth, r.Followed, r.After, r.Ends, r.Step = nil, nil, false, 0, 0, 0
	var err error
	if len(p) > 0 && tag(p[0]) == tagFollowed {
		r.Followed = true
		if _, r.After, err = unwrapFollowed(p); err != nil {
			return err
		}
	}
	if p, r.Identity, r.Own, err = Unwrap(p); err != nil {
		return err
	}
	if len(p) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	var m proto.Message
	switch t := tag(p[0]); t {
	case tagPut:
		return decodePut(p[1:], &r.Put)
	case tagDeleteRange:
		r.DeleteRange = new(pb.DeleteRangeRequest)
		m = r.DeleteRange
	case tagTxn:
		r.Txn = new(pb.TxnRequest)
		m = r.Txn
	case tagCompaction:
		r.Compaction = new(pb.CompactionRequest)
		m = r.Compaction
	case tagLeaseGrant:
		r.Grant = new(pb.LeaseGrantRequest)
		m = r.Grant
	case tagLeaseRevoke:
		r.Revoke = new(pb.LeaseRevokeRequest)
		m = r.Revoke
	case tagAlarm:
		r.Alarm = new(pb.AlarmRequest)
		m = r.Alarm
	case tagAuthEnable, tagAuthRenew:
		r.AuthEnable, err = decodeAuthEnable(t, p[1:])
		return err
	default:
		one := authMessages[t]
		if one == nil {
			return fmt.Errorf("%w: tag %d", ErrMalformed, t)
		}
		r.Auth = one()
		m = r.Auth
	}
	if err := proto.Unmarshal(p[1:], m); err != nil {
		return fmt.Errorf("%w: tag %d: %w", ErrMalformed, p[0], err)
	}
	if r.Identity.User == "" && (r.Revoke != nil || r.Txn != nil) {
		r.noteStep(stepOf(p))
	}
	return nil
}

// noteStep notes which step of the end of a lease r is, if it is one.
func (r *Request) noteStep(s Step) {
	if r.Own = r.Own || s != 0; s < Begins {
		return
	}
	r.Step = s
	if r.Ends = r.Revoke.GetID(); r.Txn != nil {
		r.Ends = endedBy(r.Txn)
	}
}

// Decode returns the request that a command does, for people and programs that read tails: one of PutRequest,
// DeleteRangeRequest, TxnRequest, CompactionRequest, LeaseGrantRequest, LeaseRevokeRequest, AlarmRequest, and those of
// etcd's Auth that change something, without passwords and keys. It may alias p. The error is ErrMalformed.
func Decode(p []byte) (proto.Message, error) {
	r := new(Request)
	if err := r.Decode(p); err != nil {
		return nil, err
	}
	return Redact(r.Message()), nil
}

// Message returns the request that is set: of AuthEnable without the key.
func (r *Request) Message() proto.Message {
	switch {
	case r.DeleteRange != nil:
		return r.DeleteRange
	case r.Txn != nil:
		return r.Txn
	case r.Compaction != nil:
		return r.Compaction
	case r.Grant != nil:
		return r.Grant
	case r.Revoke != nil:
		return r.Revoke
	case r.Alarm != nil:
		return r.Alarm
	case r.AuthEnable != nil:
		return &pb.AuthEnableRequest{}
	case r.Auth != nil:
		return r.Auth
	}
	return &r.Put
}

// IsPlainPut reports whether r is a put without options, the command that is to be fast.
func (r *Request) IsPlainPut() bool {
	return r.isPut() && r.Put.Lease == 0 && !r.Put.PrevKv && !r.Put.IgnoreValue && !r.Put.IgnoreLease
}

// NeedsScan reports whether a command reads more than single keys at the current revision, so that the batch it is
// applied in has to be an index too.
func (r *Request) NeedsScan() bool {
	switch {
	case r.Revoke != nil:
		return true
	case r.DeleteRange != nil:
		return len(r.DeleteRange.RangeEnd) > 0
	case r.Txn != nil:
		return txnNeedsScan(r.Txn) || r.Identity.User != "" && putsToLease(r.Txn)
	case r.isPut():
		return r.Identity.User != "" && r.Put.Lease != 0 // the keys of the lease are checked
	}
	return false
}

func (r *Request) isPut() bool {
	return r.DeleteRange == nil && r.Txn == nil && r.Compaction == nil && r.Grant == nil && r.Revoke == nil &&
		r.Alarm == nil && r.AuthEnable == nil && r.Auth == nil
}

// putsToLease reports whether a transaction may attach a key to a lease.
func putsToLease(t *pb.TxnRequest) bool {
	for _, branch := range [][]*pb.RequestOp{t.Success, t.Failure} {
		for _, op := range branch {
			if n := op.GetRequestTxn(); op.GetRequestPut().GetLease() != 0 || n != nil && putsToLease(n) {
				return true
			}
		}
	}
	return false
}

// NamesSpans reports whether a comparison or an operation of a transaction is about a span of keys.
func NamesSpans(t *pb.TxnRequest) bool {
	for _, c := range t.Compare {
		if len(c.RangeEnd) > 0 {
			return true
		}
	}
	for _, branch := range [][]*pb.RequestOp{t.Success, t.Failure} {
		for _, op := range branch {
			if len(op.GetRequestRange().GetRangeEnd()) > 0 || len(op.GetRequestDeleteRange().GetRangeEnd()) > 0 ||
				op.GetRequestTxn() != nil && NamesSpans(op.GetRequestTxn()) {
				return true
			}
		}
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
			if r != nil && (len(r.RangeEnd) > 0 || r.Revision > 0) ||
				d != nil && len(d.RangeEnd) > 0 || n != nil && txnNeedsScan(n) {
				return true
			}
		}
	}
	return false
}
