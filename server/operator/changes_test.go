package operator

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// looking knows everybody, and what was said of the last one.
type looking struct{ last *Caller }

func (l *looking) Operator(_ context.Context, c *Caller) (string, error) {
	l.last = c
	return "somebody", nil
}

func (*looking) Used() bool { return true }

// Whoever says who a caller is hears whether the call may change something: of etcd's calls that is asked where they
// are done.
func TestWhoIsAskedHearsWhatChanges(t *testing.T) {
	_, audit, _ := gateTo(t, false, io.Discard)
	l := &looking{}
	g := NewGate(audit, l)
	for pattern, changes := range map[string]bool{
		"POST /mimir/v1/failover": true, "DELETE /mimir/v1/tails/{name}": true, "GET /mimir/v1/tails": false,
		"POST /mimir/v1/digest": false,
	} {
		h := g.HTTP(pattern, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
		if l.last == nil || l.last.Changes != changes || !l.last.Fresh {
			t.Errorf("%s: %+v", pattern, l.last)
		}
	}
	info := &grpc.UnaryServerInfo{FullMethod: cluster + "MemberRemove"}
	_, err := g.Unary(t.Context(), &pb.MemberRemoveRequest{}, info,
		func(context.Context, any) (any, error) { return nil, nil })
	if err != nil || l.last.Changes || l.last.Fresh {
		t.Errorf("of etcd's calls: %+v, %v", l.last, err)
	}
}
