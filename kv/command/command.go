package command

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
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
)

// EncodePut returns the command that does r. The caller has checked r with CheckPut.
func EncodePut(r *pb.PutRequest) []byte { return encode(tagPut, r) }

// EncodeDeleteRange returns the command that does r. The caller has checked r with CheckDeleteRange.
func EncodeDeleteRange(r *pb.DeleteRangeRequest) []byte { return encode(tagDeleteRange, r) }

// EncodeTxn returns the command that does r. The caller has checked r with CheckTxn.
func EncodeTxn(r *pb.TxnRequest) []byte { return encode(tagTxn, r) }

// EncodeCompaction returns the command that does r. Its result comes as soon as the revisions are out of reach;
// Physical is ignored here.
func EncodeCompaction(r *pb.CompactionRequest) []byte { return encode(tagCompaction, r) }

// EncodeLeaseGrant returns the command that does r, whose ID the caller has chosen: positive.
func EncodeLeaseGrant(r *pb.LeaseGrantRequest) []byte { return encode(tagLeaseGrant, r) }

// EncodeLeaseRevoke returns the command that does r.
func EncodeLeaseRevoke(r *pb.LeaseRevokeRequest) []byte { return encode(tagLeaseRevoke, r) }

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
		// Only invalid UTF-8 in a string field can fail, and no request has a string field.
		panic(fmt.Sprintf("command: encode %T: %v", m, err))
	}
	return out
}
