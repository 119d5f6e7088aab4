package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/operator"
)

// Who orders something and hangs up while the primary is asked who he is has ordered nothing: orders go on without who
// gave them. Who waits has, where the primary does not say it.
func TestAnOrderOfWhoHangsUp(t *testing.T) {
	n := etcdapitest.StartWith(t, etcdapi.Options{})
	users, ctx := pb.NewAuthClient(n.Conn), t.Context()
	_, err1 := users.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "r00t"})
	_, err2 := users.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
	_, err3 := users.AuthEnable(ctx, &pb.AuthEnableRequest{})
	shown, err4 := users.Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: "r00t"})
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	audit, err := operator.OpenAudit(operator.AuditOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	gate := operator.NewGate(audit, rootLink{func() *etcdapi.API { return n.API }})
	ordered := false
	const pattern = "POST /mimir/v1/failover"
	h := gate.HTTP(pattern, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ordered = true }))
	etcdapitest.Lag(t, n.Replicator)
	etcdapitest.FailAsks(n.Replicator, fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	for _, hangsUp := range []bool{true, false} {
		ctx, hangUp := context.WithCancel(t.Context())
		defer hangUp()
		if n.Replicator.AtBarriers(nil); hangsUp {
			n.Replicator.AtBarriers(hangUp)
		}
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mimir/v1/failover", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+shown.Token)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); ordered == hangsUp {
			t.Errorf("he hangs up, %t, and it is ordered, %t: %d %s", hangsUp, ordered, w.Code, w.Body)
		}
	}
}
