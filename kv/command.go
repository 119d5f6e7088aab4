package kv

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
)

// EncodePut returns the command that does r. The caller has checked r with CheckPut.
func EncodePut(r *pb.PutRequest) []byte { return encode(tagPut, r) }

// EncodeDeleteRange returns the command that does r. The caller has checked r with CheckDeleteRange.
func EncodeDeleteRange(r *pb.DeleteRangeRequest) []byte { return encode(tagDeleteRange, r) }

// EncodeTxn returns the command that does r. The caller has checked r with CheckTxn.
func EncodeTxn(r *pb.TxnRequest) []byte { return encode(tagTxn, r) }

// EncodeCompaction returns the command that does r. Its result comes as soon as the revisions are out of reach; Physical is
// ignored here.
func EncodeCompaction(r *pb.CompactionRequest) []byte { return encode(tagCompaction, r) }

// EncodeLeaseGrant returns the command that does r, whose ID the caller has chosen: positive.
func EncodeLeaseGrant(r *pb.LeaseGrantRequest) []byte { return encode(tagLeaseGrant, r) }

// EncodeLeaseRevoke returns the command that does r.
func EncodeLeaseRevoke(r *pb.LeaseRevokeRequest) []byte { return encode(tagLeaseRevoke, r) }

var deterministic = proto.MarshalOptions{Deterministic: true, UseCachedSize: true}

func encode(t tag, m proto.Message) []byte {
	out := make([]byte, 1, 1+proto.Size(m))
	out[0] = byte(t)
	out, err := deterministic.MarshalAppend(out, m)
	if err != nil {
		// Only invalid UTF-8 in a string field can fail, and no request has a string field.
		panic(fmt.Sprintf("kv: encode %T: %v", m, err))
	}
	return out
}

// resultOK is the first byte of the result of a command that was done; the marshalled response follows. Every
// other first byte is an index of codes, and the result ends there.
const resultOK = 0

// appendResult encodes a result into one allocation.
func encodeResult(m proto.Message) []byte { return encode(resultOK, m) }

func encodeError(code byte) []byte { return []byte{code} }

// DecodePutResult decodes the result of an EncodePut command. Headers of results carry nothing but the revision.
func DecodePutResult(p []byte) (*pb.PutResponse, error) { return decodeResult(p, new(pb.PutResponse)) }

// DecodeDeleteRangeResult decodes the result of an EncodeDeleteRange command.
func DecodeDeleteRangeResult(p []byte) (*pb.DeleteRangeResponse, error) {
	return decodeResult(p, new(pb.DeleteRangeResponse))
}

// DecodeTxnResult decodes the result of an EncodeTxn command.
func DecodeTxnResult(p []byte) (*pb.TxnResponse, error) { return decodeResult(p, new(pb.TxnResponse)) }

// DecodeCompactionResult decodes the result of an EncodeCompaction command.
func DecodeCompactionResult(p []byte) (*pb.CompactionResponse, error) {
	return decodeResult(p, new(pb.CompactionResponse))
}

// DecodeLeaseGrantResult decodes the result of an EncodeLeaseGrant command.
func DecodeLeaseGrantResult(p []byte) (*pb.LeaseGrantResponse, error) {
	return decodeResult(p, new(pb.LeaseGrantResponse))
}

// DecodeLeaseRevokeResult decodes the result of an EncodeLeaseRevoke command.
func DecodeLeaseRevokeResult(p []byte) (*pb.LeaseRevokeResponse, error) {
	return decodeResult(p, new(pb.LeaseRevokeResponse))
}

func decodeResult[M proto.Message](p []byte, into M) (none M, err error) {
	switch {
	case len(p) == 0:
		return none, fmt.Errorf("%w: empty result", ErrMalformed)
	case p[0] == resultOK:
		if err := proto.Unmarshal(p[1:], into); err != nil {
			return none, fmt.Errorf("%w: result: %w", ErrMalformed, err)
		}
		return into, nil
	case int(p[0]) < len(codes) && len(p) == 1:
		return none, codes[p[0]]
	default:
		return none, fmt.Errorf("%w: result with code %d and %d bytes", ErrMalformed, p[0], len(p))
	}
}
