package command

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// plain is what a branch may write, looked through from beginning to end.
type plain struct {
	puts    map[string]bool
	deletes []Span
}

func (p *plain) writes(key string) bool {
	return p.puts[key] || slices.ContainsFunc(p.deletes, func(d Span) bool { return d.Contains([]byte(key)) })
}

// plainBranch says what checkBranch is to say.
func plainBranch(ops []*pb.RequestOp) (*plain, bool) {
	p := &plain{puts: map[string]bool{}}
	for _, op := range ops {
		if d := op.GetRequestDeleteRange(); d != nil {
			p.deletes = append(p.deletes, SpanOf(d.Key, d.RangeEnd))
		}
	}
	for _, op := range ops {
		n := op.GetRequestTxn()
		if n == nil {
			continue
		}
		both := map[string]bool{}
		var deletes []Span
		for _, branch := range [][]*pb.RequestOp{n.Success, n.Failure} {
			inner, ok := plainBranch(branch)
			if !ok {
				return nil, false
			}
			for key := range inner.puts {
				if p.writes(key) {
					return nil, false
				}
				both[key] = true
			}
			deletes = append(deletes, inner.deletes...)
		}
		for key := range both {
			p.puts[key] = true
		}
		p.deletes = append(p.deletes, deletes...)
	}
	for _, op := range ops {
		if put := op.GetRequestPut(); put != nil {
			if key := string(put.Key); p.writes(key) {
				return nil, false
			}
			p.puts[string(put.Key)] = true
		}
	}
	return p, true
}

func randomOps(r *rand.Rand, depth int) (ops []*pb.RequestOp) {
	key := func() string { return fmt.Sprintf("%02d", r.IntN(60)) }
	for range r.IntN(5) {
		switch kind := r.IntN(6); {
		case kind == 0 && depth > 0, kind == 1 && depth > 0:
			ops = append(ops, opTxn(randomOps(r, depth-1), randomOps(r, depth-1)))
		case kind < 4:
			ops = append(ops, opPut(key()))
		default:
			end := []string{"", "", key(), "\x00"}[min(r.IntN(24), 3)]
			if end == "\x00" && r.IntN(10) > 0 {
				end = ""
			}
			ops = append(ops, opDelete(key(), end))
		}
	}
	return ops
}

// What is refused is what is refused by looking at each put and each deletion.
func TestKeysThatWouldBeWrittenTwice(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var refused int
	for range 20_000 {
		ops := randomOps(r, 4)
		_, ok := plainBranch(ops)
		_, err := checkBranch(ops)
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrDuplicateKey) {
			t.Fatalf("%v: %v, and by looking at each: %v", &pb.TxnRequest{Success: ops}, err, ok)
		}
		if !ok {
			refused++
		}
	}
	if refused < 2_000 || refused > 18_000 {
		t.Errorf("%d are refused: the others are not looked at", refused)
	}
}

// manyOps returns a branch of as many operations as are allowed, of very many small ones.
func manyOps(one func() *pb.RequestOp) []*pb.RequestOp {
	const wide, deep = 25, 3
	var grow func(depth int) []*pb.RequestOp
	grow = func(depth int) (ops []*pb.RequestOp) {
		for range wide {
			if depth == 1 {
				ops = append(ops, one())
			} else {
				ops = append(ops, opTxn(grow(depth-1), grow(depth-1)))
			}
		}
		return ops
	}
	return grow(deep)
}

// A request of a megabyte and a half, nested, that deletes and puts very many keys is looked at soon: who sent it is
// not known yet.
func TestATransactionOfManyOperationsIsCheckedSoon(t *testing.T) {
	const most = 4 * time.Minute // of a busy machine. Each put was looked for in each deletion, which took longer
	n := 0
	key := func() string {
		n++
		return fmt.Sprintf("%06x", 2*n)
	}
	deletes := manyOps(func() *pb.RequestOp { return opDelete(key(), "") })
	n = 0
	puts := manyOps(func() *pb.RequestOp { return opPut(key() + "x") })
	r := &pb.TxnRequest{Success: []*pb.RequestOp{opTxn(deletes, nil), opTxn(puts, nil)}}
	began := time.Now()
	if err := CheckTxn(r, 128); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%d operations in %d bytes were checked in %v", 2*n, proto.Size(r), took)
	if took > most {
		t.Errorf("it took %v", took)
	}
	puts[0].GetRequestTxn().Success[0].GetRequestTxn().Success[0] = opPut(fmt.Sprintf("%06x", 2*n))
	if err := CheckTxn(r, 128); !errors.Is(err, ErrDuplicateKey) {
		t.Errorf("one of them puts what another one deletes: %v", err)
	}
}
