package etcdapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
)

// A node is not told unready for what another region does, or its own does on purpose, unless that is asked for; then
// it says who does not answer.
func TestReadyInEveryRegion(t *testing.T) {
	const (
		linearizable = "[-]linearizable_read failed: "
		excluded     = "[+]linearizable_read excluded: "
		late         = "region test shows its history late, on purpose"
	)
	type row struct {
		path string
		code int
		says string
	}
	for name, c := range map[string]struct {
		is   func(*etcdapitest.Replicator)
		rows []row
	}{
		"a fleet of one region": {func(r *etcdapitest.Replicator) { r.Cut() }, []row{
			{"/readyz", 503, linearizable + "etcdserver: request timed out: the leader of the region "},
			{"/readyz?exclude=linearizable_read", 200, "ok"},
		}},
		"no leader": {func(r *etcdapitest.Replicator) {
			r.SetLeader(false)
			r.FailBarriers(replication.ErrNotReady)
		}, []row{
			{"/readyz", 503, linearizable + "etcdserver: no leader"},
		}},
		"a secondary in good health": {func(r *etcdapitest.Replicator) { r.Follow("us", true) }, []row{
			{"/readyz?verbose", 200, excluded + "region test follows us; ?linearizable=true asks for it"},
			{"/readyz?verbose&linearizable=true", 200, "[+]linearizable_read ok\n"},
		}},
		"its primary is gone": {func(r *etcdapitest.Replicator) { r.Follow("us", false); r.Cut() }, []row{
			{"/readyz", 200, "ok"},
			{"/readyz?verbose", 200, excluded},
			{"/readyz?linearizable=true", 503, linearizable + "the primary of the fleet, us, does not answer"},
			{"/readyz?linearizable=true&exclude=linearizable_read", 200, "ok"},
			{"/readyz/linearizable_read", 503, linearizable + "the primary of the fleet, us, does not answer"},
		}},
		"its primary is slow": {func(r *etcdapitest.Replicator) { r.Follow("us", true); r.Cut() }, []row{
			{"/readyz", 200, "ok"},
			{"/readyz/linearizable_read", 503, linearizable + "the primary of the fleet, us, confirmed no read for "},
		}},
		"a delayed region": {func(r *etcdapitest.Replicator) { r.Follow("us", true); r.Hide() }, []row{
			{"/readyz?verbose&exclude=node_health", 200, excluded + late},
			{"/readyz/linearizable_read", 503, linearizable + "etcdserver: replication: region is kept delayed"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := etcdapitest.Start(t, etcdapi.Limits{RequestTimeout: 100 * time.Millisecond})
			handler, err := n.API.HTTPHandler(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.is(n.Replicator)
			for _, row := range c.rows {
				// On a busy machine the node, too, may be late once with what it says at once else.
				for deadline := time.Now().Add(time.Minute); ; {
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, row.path, nil))
					if w.Code == row.code && strings.Contains(w.Body.String(), row.says) {
						break
					}
					if time.Now().After(deadline) {
						t.Errorf("%s: %d %s", row.path, w.Code, w.Body)
						break
					}
				}
			}
		})
	}
}
