package etcdapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// A request of the gateway is that of its HTTP request, and of nobody once that is over: then it is not served, as it
// would else come from no address.
func TestARequestOfTheGatewayIsOfWhoMadeIt(t *testing.T) {
	type key struct{}
	g := &gatewayRequests{}
	var name string
	here := bufconn.Listen(1).Addr()
	who := func() (any, error) {
		ctx := grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{Addr: here})
		if name != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(gatewayKey, "forged", gatewayKey, name))
		}
		return g.carryUnary(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
			return ctx.Value(key{}), nil
		})
	}
	h := g.follow(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		name = nameRequest(r.Context(), r).Get(gatewayKey)[0]
		if got, err := who(); got != "he" || err != nil {
			t.Errorf("it is of %v, %v", got, err)
		}
	}))
	r := httptest.NewRequest(http.MethodPost, "/v3/cluster/member/add", nil)
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(t.Context(), key{}, "he")))
	if got, err := who(); status.Code(err) != codes.Canceled {
		t.Errorf("once its client has left it is served, as of %v: %v", got, err)
	}
	name = ""
	if _, err := who(); err != nil {
		t.Errorf("what did not come through the gateway: %v", err)
	}
}
