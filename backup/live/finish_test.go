package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi/follow"
)

// stub is an empty etcd, or a fleet that follows one and breaks off when it was opened.
type stub struct {
	mu     sync.Mutex
	raised []uint64 // by members, the alarm CORRUPT
	asked  int      // how often for its leases
	late   time.Time
	opened bool
	broken error // what comes of a stream behind the opening
	does   error // of the opening, in its place
}

func (s *stub) side(name string) sides.Side { return sides.Side{Name: name, Conn: s} }

// Invoke implements grpc.ClientConnInterface.
func (s *stub) Invoke(_ context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer proto.Message
	switch in := in.(type) {
	case *pb.RangeRequest:
		answer = &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: 7, MemberId: 1}}
	case *pb.LeaseLeasesRequest:
		s.asked++
		r := &pb.LeaseLeasesResponse{}
		if time.Now().Before(s.late) {
			r.Leases = []*pb.LeaseStatus{{ID: 5}}
		}
		answer = r
	case *pb.LeaseTimeToLiveRequest:
		answer = &pb.LeaseTimeToLiveResponse{GrantedTTL: 60}
	case *pb.AuthStatusRequest:
		answer = &pb.AuthStatusResponse{}
	case *pb.AlarmRequest:
		r := &pb.AlarmResponse{}
		switch in.Action {
		case pb.AlarmRequest_ACTIVATE:
			s.raised = append(s.raised, in.MemberID)
		case pb.AlarmRequest_DEACTIVATE:
			s.raised = nil
		default:
			for _, m := range s.raised {
				r.Alarms = append(r.Alarms, &pb.AlarmMember{MemberID: m, Alarm: pb.AlarmType_CORRUPT})
			}
		}
		answer = r
	default:
		return fmt.Errorf("%s is not expected", method)
	}
	proto.Merge(out.(proto.Message), answer)
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (s *stub) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return &stubStream{stub: s}, nil
}

type stubStream struct {
	grpc.ClientStream
	*stub
	told int
}

func (s *stubStream) CloseSend() error  { return nil }
func (s *stubStream) SendMsg(any) error { return nil }
func (s *stubStream) RecvMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.told++; {
	case s.told == 2 && s.does != nil:
		return s.does
	case s.told == 2:
		s.opened = true
	case s.told > 2:
		return s.broken
	}
	text, err := json.Marshal(follow.State{Follows: !s.opened, Revision: 7})
	proto.Merge(m.(proto.Message), wrapperspb.Bytes(text))
	return err
}

// A fleet that said that it is open is, whatever becomes of the connection behind that, and the etcd stays fenced.
func TestAFleetIsOpenAlsoIfTheConnectionBreaksThen(t *testing.T) {
	etcd, fleet := &stub{}, &stub{broken: status.Error(codes.Unavailable, "transport is closing")}
	c, err := Finish(t.Context(), etcd.side("the etcd"), fleet.side("the fleet"), FinishOptions{Fence: true})
	if err != nil || !fleet.opened || len(etcd.raised) != 1 || c.Revision != 7 {
		t.Errorf("%+v, %v; opened %t, the alarm is raised by %d", c, err, fleet.opened, etcd.raised)
	}
	etcd, fleet = &stub{}, &stub{does: status.Error(codes.Unavailable, "transport is closing")}
	_, err = Finish(t.Context(), etcd.side("the etcd"), fleet.side("the fleet"), FinishOptions{Fence: true})
	if err == nil || !strings.Contains(err.Error(), "not known whether the fleet was opened") || len(etcd.raised) != 1 {
		t.Errorf("where nobody knows: %v; the alarm is raised by %d", err, etcd.raised)
	}
	etcd, fleet = &stub{}, &stub{does: status.Error(codes.Aborted, "something else comes next")}
	_, err = Finish(t.Context(), etcd.side("the etcd"), fleet.side("the fleet"), FinishOptions{Fence: true})
	if err == nil || len(etcd.raised) != 0 {
		t.Errorf("refused: %v; the alarm is raised by %d", err, etcd.raised)
	}
}

// An alarm that the etcd has raised, of any member, is neither used nor taken back.
func TestAFenceIsNotAnAlarmOfSomebodyElse(t *testing.T) {
	etcd, fleet := &stub{raised: []uint64{9}}, &stub{does: status.Error(codes.Aborted, "something else comes next")}
	_, err := Finish(t.Context(), etcd.side("the etcd"), fleet.side("the fleet"), FinishOptions{Fence: true})
	if !errors.Is(err, ErrAlarm) || len(etcd.raised) != 1 || fleet.opened {
		t.Errorf("%v; the alarm is raised by %d", err, etcd.raised)
	}
}

// Leases that are on their way are asked about now and then.
func TestLeasesAreAskedAboutWithPauses(t *testing.T) {
	const late = 4 * lookEvery
	etcd, fleet := &stub{late: time.Now().Add(late)}, &stub{}
	c, err := Verify(t.Context(), etcd.side("the etcd"), fleet.side("the fleet"), VerifyOptions{})
	if err != nil || c.Leases != 0 || etcd.asked > int(late/lookEvery)+2 {
		t.Errorf("%+v, %v; asked %d times in %v", c, err, etcd.asked, late)
	}
}
