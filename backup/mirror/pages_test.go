package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// stub is an etcd of so many keys, the values of which take some bytes.
type stub struct {
	keys, bytes int
	limits      []int64 // that were asked for
	largest     int     // answer
	puts        int
	err         error // of each page
}

func (s *stub) Invoke(_ context.Context, _ string, request, answer any, o ...grpc.CallOption) error {
	if txn, is := answer.(*pb.TxnResponse); is {
		s.puts += len(request.(*pb.TxnRequest).Success)
		txn.Succeeded, txn.Header = true, &pb.ResponseHeader{Revision: 7}
		return nil
	}
	if s.err != nil {
		return s.err
	}
	q, r := request.(*pb.RangeRequest), answer.(*pb.RangeResponse)
	s.limits = append(s.limits, q.Limit)
	first, size, value := 0, 0, make([]byte, s.bytes)
	if _, err := fmt.Sscanf(string(q.Key), "%d", &first); err == nil {
		first++
	}
	for i := first; i < s.keys && int64(i-first) < q.Limit; i++ {
		r.Kvs = append(r.Kvs, &mvccpb.KeyValue{Key: fmt.Appendf(nil, "%06d", i), Value: value})
		size += s.bytes
	}
	r.More = first+len(r.Kvs) < s.keys
	for _, option := range o {
		if most, is := option.(grpc.MaxRecvMsgSizeCallOption); is && size > most.MaxRecvMsgSize {
			r.Kvs = nil
			return status.Error(codes.ResourceExhausted, "it is larger than that")
		}
	}
	s.largest = max(s.largest, size)
	return nil
}

func (*stub) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams")
}

// Pages are as large as is told, and all keys are on them: a page of one key is as large as that.
func TestPagesAreBounded(t *testing.T) {
	for _, s := range []*stub{
		{keys: 20_000, bytes: 10}, {keys: 200, bytes: 1 << 20}, {keys: 3, bytes: 2 * sides.MostPageBytes},
	} {
		p, n := newPages(sides.Side{Conn: s}, "", 0), 0
		for ; ; n++ {
			kv, err := p.first(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if kv == nil {
				break
			}
			p.next()
		}
		if n != s.keys || s.largest > max(sides.MostPageBytes, s.bytes) || len(s.limits) > 100 {
			t.Errorf("%d of %d keys of %d bytes, the largest page has %d bytes, limits %d", n, s.keys, s.bytes,
				s.largest, s.limits)
		}
	}
}

// What is to be done is said where the history does not last for a comparison.
func TestAComparisonThatTakesTooLongIsSaid(t *testing.T) {
	s := &stub{err: rpctypes.ErrGRPCCompacted}
	_, err := newPages(sides.Side{Name: "the fleet", Conn: s}, "", 5).first(t.Context())
	if err == nil || !strings.Contains(err.Error(), "longer than the fleet keeps its history, or a failover") {
		t.Error(err)
	}
}

// silent is an endpoint that answers questions, and has said nothing on a stream when the time is over.
type silent struct{ *stub }

func (silent) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.FromContextError(context.DeadlineExceeded).Err()
}

// An endpoint that does not come in time to what was mirrored last is given twice as much the next time.
func TestWhoReadsForLongIsGivenMoreTime(t *testing.T) {
	s := &session{mirror: &mirror{patience: sides.AnswerTime}, fleet: sides.Side{Conn: silent{&stub{}}},
		leases: newLeases(sides.Side{}, sides.Side{}, "", newLedger())}
	was := placed{place: place{Revision: 9, Given: 7, Print: 1}}
	for range 2 {
		if err := s.sameHistory(t.Context(), was); err == nil || isFinal(err) {
			t.Error(err)
		}
	}
	if s.patience != 4*sides.AnswerTime {
		t.Errorf("it waits %v", s.patience)
	}
	for range 10 {
		_ = s.sameHistory(t.Context(), was) // as above
	}
	if s.patience != mostPatience {
		t.Errorf("it waits %v in the end", s.patience)
	}
}

// Where leases are not kept alive any more, what may take long ends: by another connection they may be.
func TestWhatTakesLongEndsWhereLeasesAreNotKeptAlive(t *testing.T) {
	s := &session{mirror: &mirror{}, leases: newLeases(sides.Side{}, sides.Side{}, "", newLedger())}
	s.leases.failed = errUnreachable
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := whileOurs(ctx, s, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, errUnreachable) || ctx.Err() != nil {
		t.Error(err)
	}
}

// What was passed is written once it is time to, also if nothing more is passed.
func TestThePlaceIsWrittenWhereNothingMoreComes(t *testing.T) {
	etcd := &stub{}
	s := &session{mirror: &mirror{}, etcd: sides.Side{Conn: etcd}, revision: 9, packed: 9}
	s.at.Revision = 8 // of when it was noted a moment ago
	for range 2 {
		if err := s.pass(t.Context(), 9); err != nil || etcd.puts != 1 || s.at.Revision != 9 {
			t.Errorf("the place is put %d times, at %d: %v", etcd.puts, s.at.Revision, err)
		}
	}
}
