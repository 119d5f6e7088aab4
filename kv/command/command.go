package command

import (
	"bytes"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// tag is the first byte of a command. The values are in the log for ever: never renumber.
type tag byte

const (
	tagPut         tag = 1
	tagDeleteRange tag = 2
	tagTxn         tag = 3
	tagCompaction  tag = 4
	tagLeaseGrant  tag = 5
	tagLeaseRevoke tag = 6
	tagAlarm       tag = 7

	// Of users and roles. All that come later too are above tagIdentity: see NeedsUsers.
	tagIdentity           tag = 8 // an envelope
	tagAuthEnable         tag = 9
	tagAuthDisable        tag = 10
	tagUserAdd            tag = 11
	tagUserDelete         tag = 12
	tagUserChangePassword tag = 13
	tagUserGrantRole      tag = 14
	tagUserRevokeRole     tag = 15
	tagRoleAdd            tag = 16
	tagRoleDelete         tag = 17
	tagRoleGrant          tag = 18
	tagRoleRevoke         tag = 19

	tagFollowed tag = 20 // an envelope: of an etcd that is followed

	// Both are for nodes that know of the basis of an identity: see NeedsBasis.
	tagBased     tag = 21 // an envelope
	tagAuthRenew tag = 22
)

// EncodePut returns the command that does r. The caller has checked r with CheckPut.
func EncodePut(r *pb.PutRequest) []byte { return encode(tagPut, r) }

// EncodeDeleteRange returns the command that does r. The caller has checked r with CheckDeleteRange.
func EncodeDeleteRange(r *pb.DeleteRangeRequest) []byte { return encode(tagDeleteRange, r) }

// EncodeTxn returns the command that does r. The caller has checked r with CheckTxn.
func EncodeTxn(r *pb.TxnRequest) []byte {
	// And nothing that would be taken for a mark.
	return encode(tagTxn, &pb.TxnRequest{Compare: r.Compare, Success: r.Success, Failure: r.Failure})
}

// EncodeCompaction returns the command that does r. Its result comes as soon as the revisions are out of reach;
// Physical is ignored here.
func EncodeCompaction(r *pb.CompactionRequest) []byte { return encode(tagCompaction, r) }

// EncodeLeaseGrant returns the command that does r, whose ID the caller has chosen: positive.
func EncodeLeaseGrant(r *pb.LeaseGrantRequest) []byte { return encode(tagLeaseGrant, r) }

// EncodeLeaseRevoke returns the command that does r, which a client asked for.
func EncodeLeaseRevoke(r *pb.LeaseRevokeRequest) []byte {
	return encode(tagLeaseRevoke, &pb.LeaseRevokeRequest{ID: r.ID}) // and nothing that would be taken for a mark
}

// expiryField is the number of a field that no request has. With a Step as its value it is a mark behind a
// LeaseRevokeRequest or a TxnRequest, which says that nobody asked for it: a lease had expired. Whoever applies the
// command does what it does without the mark, also one who does not know it, but for what a Step says.
const expiryField = 1000

// Step says what an expiry is in the end of a lease. The values are in the log for ever: never renumber.
type Step uint64

// Steps of the end of a lease. Those behind Alone are not for nodes that do not know them: see NeedsEnds.
const (
	Alone  Step = 1 // whatever came before it says nothing of the lease, which lives on until it is revoked
	Begins Step = 2 // the lease is dead from here on; refused with ErrLeaseNotFound if there is none
	GoesOn Step = 3 // of a lease that is dead; refused with ErrLeaseNotFound of one that is not, as one granted anew
)

func (s Step) mark() []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, expiryField, protowire.VarintType), uint64(s))
}

// later are the marks of which nodes from before do not know more than that they are marks.
var later = [][]byte{Begins.mark(), GoesOn.mark()}

// NeedsEnds reports whether nodes must know of the ends of leases to do a command as others do.
func NeedsEnds(p []byte) bool {
	return slices.ContainsFunc(later, func(mark []byte) bool { return bytes.HasSuffix(p, mark) }) && stepOf(p) >= Begins
}

// EncodeLeaseExpiry returns the command that revokes a lease because it has expired. The step is not Begins.
func EncodeLeaseExpiry(id int64, s Step) []byte {
	return append(EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: id}), s.mark()...)
}

// EncodeLeaseExpiryPart returns the command that deletes those of keys that are attached to a lease, because it has
// expired and has more of them than can be deleted with it. ExpiryPartBytes of a key is about what it takes.
func EncodeLeaseExpiryPart(id int64, keys [][]byte, s Step) []byte {
	part := &pb.TxnRequest{}
	for _, key := range keys {
		attached := &pb.Compare{
			Key: key, Target: pb.Compare_LEASE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_Lease{Lease: id},
		}
		gone := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
			RequestDeleteRange: &pb.DeleteRangeRequest{Key: key},
		}}
		part.Success = append(part.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{
			RequestTxn: &pb.TxnRequest{Compare: []*pb.Compare{attached}, Success: []*pb.RequestOp{gone}},
		}})
	}
	return append(EncodeTxn(part), s.mark()...)
}

// endedBy returns the lease of which a transaction of EncodeLeaseExpiryPart deletes keys.
func endedBy(part *pb.TxnRequest) int64 {
	for _, op := range part.Success {
		for _, attached := range op.GetRequestTxn().GetCompare() {
			return attached.GetLease()
		}
	}
	return 0
}

// ExpiryPartBytes is how much of a command of EncodeLeaseExpiryPart a key takes, at most.
func ExpiryPartBytes(key []byte) int64 { return 2*int64(len(key)) + 64 }

// IsLeaseExpiry reports whether a command is one of EncodeLeaseExpiry or EncodeLeaseExpiryPart: a decision of whoever
// kept the leases, and no request of a client.
func IsLeaseExpiry(p []byte) bool { return stepOf(p) != 0 }

// stepOf returns what is marked behind a command; 0 if it is no expiry. A mark whose value nobody gives is Alone.
func stepOf(p []byte) Step {
	if len(p) == 0 || tag(p[0]) != tagLeaseRevoke && tag(p[0]) != tagTxn {
		return 0
	}
	for p = p[1:]; len(p) > 0; {
		number, _, n := protowire.ConsumeField(p)
		switch {
		case n < 0:
			return 0
		case number == expiryField && bytes.Equal(p, Begins.mark()):
			return Begins
		case number == expiryField && bytes.Equal(p, GoesOn.mark()):
			return GoesOn
		case number == expiryField:
			return Alone
		}
		p = p[n:]
	}
	return 0
}

// EncodeAlarm returns the command that does r, which raises or disarms. Nodes of the version before refuse it, all
// alike, and go on without the alarm. It changes nothing that any other command depends on, so that old and new nodes
// stay equal in all else.
func EncodeAlarm(r *pb.AlarmRequest) []byte { return encode(tagAlarm, r) }

var deterministic = proto.MarshalOptions{Deterministic: true, UseCachedSize: true}

func encode(t tag, m proto.Message) []byte {
	out := make([]byte, 1, 1+proto.Size(m))
	out[0] = byte(t)
	out, err := deterministic.MarshalAppend(out, m)
	if err != nil {
		// Only invalid UTF-8 in a string field can fail, and no request of these has a string field.
		panic(fmt.Sprintf("command: encode %T: %v", m, err))
	}
	return out
}
