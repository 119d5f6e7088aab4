package command

import (
	"encoding/binary"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// AlarmFollows is the kind of an alarm of nobody's, with which a content begins that follows an etcd. As long as it is
// raised, what changes something must come from that etcd; a command of it alone disarms it. No client is shown it.
const AlarmFollows pb.AlarmType = 1000

// Errors of a content that follows an etcd.
var (
	// ErrFollows says that a content follows an etcd, and takes nothing that does not come from there.
	ErrFollows = errors.New("kv: the content follows an etcd, and takes no other writes")
	// ErrFollowsNot says that what comes from an etcd comes to a content that does not follow one, or no longer.
	ErrFollowsNot = errors.New("kv: the content does not follow an etcd")
	// ErrParted says that what comes from an etcd is not what comes next here.
	ErrParted = errors.New("kv: the content is not what the etcd has at this revision")
)

// EncodeFollowed returns the command that does what p does, a transaction, a grant, a revocation or EncodeOpening, if
// the content follows an etcd and its revision is after; else it is ErrFollowsNot or ErrParted. A grant of a lease that
// exists changes its time to live; a revocation of one with keys is ErrParted: they go by a transaction before.
func EncodeFollowed(after int64, p []byte) []byte {
	out := binary.AppendUvarint([]byte{byte(tagFollowed)}, uint64(after))
	return append(out, p...)
}

// EncodeOpening returns the command after which a content follows no etcd any more. It counts in EncodeFollowed alone.
func EncodeOpening() []byte {
	return EncodeAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: AlarmFollows})
}

// unwrapFollowed returns the command in one of EncodeFollowed.
func unwrapFollowed(p []byte) (inner []byte, after int64, err error) {
	revision, n := binary.Uvarint(p[1:])
	if after = int64(revision); n <= 0 || after < 0 {
		return nil, 0, fmt.Errorf("%w: of an etcd, without a revision", ErrMalformed)
	}
	inner = p[1+n:]
	if len(inner) == 0 || tag(inner[0]) != tagTxn && tag(inner[0]) != tagLeaseGrant &&
		tag(inner[0]) != tagLeaseRevoke && tag(inner[0]) != tagAlarm {
		return nil, 0, fmt.Errorf("%w: of an etcd, without a command that can be", ErrMalformed)
	}
	return inner, after, nil
}

// CheckFollowed returns nil if the result of a command of EncodeFollowed is that it was done, or why it was not.
func CheckFollowed(p, result []byte) error {
	inner, _, err := unwrapFollowed(p)
	if err != nil {
		return err
	}
	if len(result) == 0 {
		return fmt.Errorf("%w: empty result", ErrMalformed)
	}
	if result[0] != resultOK || tag(inner[0]) != tagTxn {
		_, err := decodeResult(result, new(emptypb.Empty))
		return err
	}
	if r, err := DecodeTxnResult(result); err != nil || r.Succeeded {
		return err
	}
	return ErrParted
}
