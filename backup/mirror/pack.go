package mirror

import (
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// packBytes is how many bytes of keys and values go into one transaction, if one change is not larger: an etcd takes
// 1.5 MiB with everything else.
const packBytes = 1 << 20

// change is what is done to one key of the etcd.
type change struct {
	key   []byte
	op    *pb.RequestOp
	bytes int
}

func putOf(r *pb.PutRequest) change {
	return change{key: r.Key, op: opPut(r), bytes: len(r.Key) + len(r.Value)}
}

func deleteOf(key []byte) change { return change{key: key, op: opDelete(key), bytes: len(key)} }

// pack is one transaction on its way: of different keys, as an etcd wants it.
type pack struct {
	ops   []*pb.RequestOp
	keys  map[string]bool
	bytes int
	most  int // operations
}

// fits reports whether all of these go into it, beside what there is.
func (p *pack) fits(changes []change) bool {
	bytes, keys := p.bytes, make(map[string]bool, len(changes))
	for _, c := range changes {
		if p.keys[string(c.key)] || keys[string(c.key)] {
			return false
		}
		keys[string(c.key)] = true
		bytes += c.bytes
	}
	n := len(p.ops) + len(changes)
	return n <= p.most && (bytes <= packBytes || n <= 1)
}

// add adds what fits.
func (p *pack) add(changes []change) {
	if p.keys == nil {
		p.keys = make(map[string]bool)
	}
	for _, c := range changes {
		p.keys[string(c.key)] = true
		p.ops, p.bytes = append(p.ops, c.op), p.bytes+c.bytes
	}
}

// isRefusal reports whether an etcd has refused a transaction for what it is, so that it refuses it again.
func isRefusal(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument:
		return !sides.IsStale(err)
	case codes.ResourceExhausted: // of gRPC, before the etcd has seen it; what lacks room says something else
		return strings.Contains(status.Convert(err).Message(), "larger than max")
	}
	return false
}

// largest returns the key of the largest of some operations, and how many bytes of key and value that has.
func largest(ops []*pb.RequestOp) (key []byte, bytes int) {
	for _, op := range ops {
		put := op.GetRequestPut()
		if n := len(put.GetKey()) + len(put.GetValue()); n > bytes {
			key, bytes = put.GetKey(), n
		}
	}
	return key, bytes
}

// take returns the operations, and leaves nothing.
func (p *pack) take() []*pb.RequestOp {
	ops := p.ops
	*p = pack{most: p.most}
	return ops
}
