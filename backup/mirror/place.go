package mirror

import (
	"context"
	"encoding/json"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// placeVersion is of what is kept as the place.
const placeVersion = 1

// place is how far a mirror has come. It is the value of a key of the etcd: never change a name.
type place struct {
	Version  int    `json:"version"`
	Fleet    string `json:"fleet"` // its cluster ID, in hexadecimal
	Prefix   string `json:"prefix"`
	ToPrefix string `json:"toPrefix"`
	Revision int64  `json:"revision"` // of the fleet; 0: it never was like the fleet
	Run      string `json:"run"`      // of the mirror that writes
}

// placeKey is where the place of what is mirrored to a prefix is kept. It is not compared, and not mirrored over.
func placeKey(toPrefix string) []byte { return []byte("mimir.mirror/place/" + toPrefix) }

// placed is a place as the etcd has it.
type placed struct {
	place
	key []byte
	mod int64 // the etcd's revision at which it was put; 0: there is none
}

// readPlace reads the place of what is mirrored to a prefix.
func readPlace(ctx context.Context, etcd sides.Side, toPrefix string) (p placed, err error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	p.key = placeKey(toPrefix)
	r, err := pb.NewKVClient(etcd.Conn).Range(ctx, &pb.RangeRequest{Key: p.key})
	if err != nil {
		return p, fmt.Errorf("the place in the etcd: %w", err)
	}
	if len(r.Kvs) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(r.Kvs[0].Value, &p.place); err != nil || p.Version != placeVersion {
		return p, fmt.Errorf("%w: key %q is not the place of a mirror that this version knows: %.100q", ErrForeign,
			p.key, r.Kvs[0].Value)
	}
	p.mod = r.Kvs[0].ModRevision
	return p, nil
}

// unchanged is the condition under which everything is written: the place is as it was.
func (p *placed) unchanged() []*pb.Compare {
	return []*pb.Compare{{Key: p.key, Target: pb.Compare_MOD,
		TargetUnion: &pb.Compare_ModRevision{ModRevision: p.mod}}}
}

// put is the operation that has it stand at next.
func (p *placed) put(next place) (*pb.RequestOp, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	return opPut(&pb.PutRequest{Key: p.key, Value: value}), nil
}

func opPut(r *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
}

func opDelete(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}}
}
