package command

import (
	"encoding/binary"
	"fmt"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// resultOK is the first byte of the result of a command that was done; the marshalled response follows. Every
// other first byte is an index of codes, and the result ends there.
const resultOK = 0

// Results gathers the results of a batch of commands, in order; those of plain puts share memory. Nil gathers
// nothing. It is used by one goroutine.
type Results struct {
	all   [][]byte
	arena []byte
}

// NewResults returns one with room for the results of n commands.
func NewResults(n int) *Results { return &Results{all: make([][]byte, 0, n)} }

// All returns what was gathered.
func (r *Results) All() [][]byte {
	if r == nil {
		return nil
	}
	return r.all
}

// Done adds the result of a command that was done. Headers carry nothing but the revision.
func (r *Results) Done(response proto.Message) {
	if r != nil {
		r.all = append(r.all, encode(resultOK, response))
	}
}

// Refused adds the result of a command that was refused with an error that a result [Carries].
func (r *Results) Refused(err error) {
	if r != nil {
		code, ok := codeOf(err)
		if !ok { // what nobody can read is no "done"
			code = math.MaxUint8
		}
		r.all = append(r.all, []byte{code})
	}
}

// maxPutResultBytes bounds the result of a put: code, header field, length, revision field, revision.
const maxPutResultBytes = 1 + 1 + 1 + 1 + binary.MaxVarintLen64

// Put adds the result of a plain put: a PutResponse with nothing but the revision in its header.
func (r *Results) Put(revision int64) {
	if r == nil {
		return
	}
	if cap(r.arena)-len(r.arena) < maxPutResultBytes {
		r.arena = make([]byte, 0, 128*maxPutResultBytes)
	}
	const headerField, revisionField = 1<<3 | 2, 3 << 3
	start := len(r.arena)
	a := append(r.arena, resultOK, headerField, 0, revisionField)
	a = binary.AppendUvarint(a, uint64(revision))
	a[start+2] = byte(len(a) - start - 3)
	r.arena = a
	r.all = append(r.all, a[start:len(a):len(a)])
}

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

// DecodeAlarmResult decodes the result of an EncodeAlarm command.
func DecodeAlarmResult(p []byte) (*pb.AlarmResponse, error) {
	return decodeResult(p, new(pb.AlarmResponse))
}

// Refusal returns why the command of a result was not done, nil if it was.
func Refusal(result []byte) error {
	_, err := decodeResult(result, new(emptypb.Empty)) // which leaves unread what the response says
	return err
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
