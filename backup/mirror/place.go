package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// placeVersion is of what is kept as the place.
//
//   - 1: leases of all places have the IDs of the fleet in the etcd.
//   - 2: each place has leases of its own there. One of version 1 is compared, and is of version 2 then.
const (
	placeVersion       = 2
	sharedLeaseVersion = 1
)

// place is how far a mirror has come. It is the value of a key of the etcd: never change a name.
type place struct {
	Version  int    `json:"version"`
	Fleet    string `json:"fleet"` // its cluster ID, in hexadecimal
	Prefix   text   `json:"prefix"`
	ToPrefix text   `json:"toPrefix"`
	Revision int64  `json:"revision"` // of the fleet; 0: it never was like the fleet
	// Comparing says that what is there may be older than the revision, and none of it is newer: whoever comes next
	// compares.
	Comparing bool   `json:"comparing,omitempty"`
	Run       string `json:"run"` // of the mirror that writes
	// Given is the last revision, at most Revision, of which is known what was changed at it, and Print is of that
	// (sides.PrintOf); 0: none is.
	Given int64  `json:"given,omitempty"`
	Print uint32 `json:"print,omitempty"`
}

// text is any bytes as JSON: what is no UTF-8 is escaped as in Go.
type text string

// MarshalText implements encoding.TextMarshaler.
func (t text) MarshalText() ([]byte, error) {
	quoted := strconv.Quote(string(t))
	return []byte(quoted[1 : len(quoted)-1]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *text) UnmarshalText(b []byte) error {
	s, err := strconv.Unquote(`"` + string(b) + `"`)
	*t = text(s)
	return err
}

// placePrefix is of the keys where places are kept. Nothing there is compared, or mirrored over.
const placePrefix = "mimir.mirror/place/"

// placeKey is where the place of what is mirrored to a prefix is kept.
func placeKey(toPrefix string) []byte { return []byte(placePrefix + toPrefix) }

func isPlace(key []byte) bool { return bytes.HasPrefix(key, []byte(placePrefix)) }

// sharesLeases reports whether what is there may be under leases that others have as well.
func (p place) sharesLeases() bool {
	return p.Version == sharedLeaseVersion && maskOf(string(p.ToPrefix)) != 0
}

// placed is a place as the etcd has it.
type placed struct {
	place
	key          []byte
	created, mod int64 // the etcd's revisions at which it was put first, and last; 0: there is none
}

// readPlace reads the place of what is mirrored to a prefix.
func readPlace(ctx context.Context, etcd sides.Side, toPrefix string) (placed, error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	key := placeKey(toPrefix)
	r, err := pb.NewKVClient(etcd.Conn).Range(ctx, &pb.RangeRequest{Key: key})
	if err != nil {
		return placed{}, fmt.Errorf("the place in the etcd: %w", err)
	}
	return decodePlace(key, r.Kvs)
}

// decodePlace returns the place that was found under a key.
func decodePlace(key []byte, kvs []*mvccpb.KeyValue) (placed, error) {
	p := placed{key: key}
	if len(kvs) == 0 {
		return p, nil
	}
	err := json.Unmarshal(kvs[0].Value, &p.place)
	if err != nil || p.Version < sharedLeaseVersion || p.Version > placeVersion {
		return p, fmt.Errorf("%w: key %q is not the place of a mirror that this version knows: %.100q", ErrForeign,
			key, kvs[0].Value)
	}
	p.created, p.mod = kvs[0].CreateRevision, kvs[0].ModRevision
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

// read is the operation that reads it, where it is not as it was.
func (p *placed) read() []*pb.RequestOp {
	return []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: p.key}}}}
}

func opPut(r *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
}

func opDelete(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}}
}
