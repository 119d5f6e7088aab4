package feed

import (
	"context"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// A login of before a change of users or roles is no reason to end, and what is refused for what it is is one.
func TestAnOldLoginEndsNothing(t *testing.T) {
	for refusal, final := range map[error]bool{
		rpctypes.ErrGRPCAuthOldRevision: false, rpctypes.ErrGRPCInvalidAuthToken: false,
		rpctypes.ErrGRPCEmptyKey: true, rpctypes.ErrGRPCPermissionDenied: true,
	} {
		if err := fmt.Errorf("revision of the fleet: %w", refusal); isFinal(err) != final {
			t.Errorf("%v: final %t", err, !final)
		}
	}
}

// silent is an endpoint that answers questions, and has said nothing on a stream when the time is over.
type silent struct{}

func (silent) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

func (silent) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.FromContextError(context.DeadlineExceeded).Err()
}

// An endpoint that does not come in time to what was given out last is given twice as much the next time.
func TestWhoReadsForLongIsGivenMoreTime(t *testing.T) {
	s := &session{
		follower: &follower{at: place{Revision: 9, Given: 7, Print: 1}, patience: sides.AnswerTime},
		side:     sides.Side{Conn: silent{}},
	}
	for range 2 {
		if err := s.compare(t.Context()); err == nil || isFinal(err) || s.compared {
			t.Errorf("compared %t: %v", s.compared, err)
		}
	}
	if s.patience != 4*sides.AnswerTime {
		t.Errorf("it waits %v", s.patience)
	}
}
