package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Where most places are taken, by clients that watch, another limit keeps nobody out: those for whom there is no room
// to come anew keep their connections, and write on.
func TestAnotherLimitKeepsNobodyOut(t *testing.T) {
	c := testConfig(t, "solo")
	c.MaxConnections, c.ListenHTTP = 8, freeAddr(t)
	node := runRereading(t, c)
	var clients []*clientv3.Client
	var seen []clientv3.WatchChan
	for i := range 6 {
		client := etcdClient(t, c, TLS{})
		eventually(t, "the node serves", func(ctx context.Context) bool {
			_, err := client.Get(ctx, "k")
			return err == nil
		})
		watch := client.Watch(t.Context(), fmt.Sprint("k", i), clientv3.WithCreatedNotify())
		if r := <-watch; !r.Created {
			t.Fatalf("%+v", r)
		}
		clients, seen = append(clients, client), append(seen, watch)
	}
	next := *c
	next.Limits.RequestBytes = 2 << 20
	node.read(next)
	refused := func() (body string, some bool) {
		body, err := getHTTP("http://"+c.ListenHTTP+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		const none = `mimir_connections_refused_total{listener="listen-client",reason="full"} 0`
		return body, !strings.Contains(body, none)
	}
	eventually(t, "somebody comes anew", func(ctx context.Context) bool {
		for i, client := range clients {
			if _, err := client.Put(ctx, fmt.Sprint("k", i), strings.Repeat("x", 100)); err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
		}
		body, _ := refused()
		return strings.Contains(body, `mimir_connections{listener="listen-client"} 7`)
	})
	if body, some := refused(); some {
		t.Errorf("somebody was kept out:\n%s", body)
	}
	for i, watch := range seen {
		select {
		case r := <-watch:
			if r.Err() != nil || len(r.Events) == 0 {
				t.Errorf("watch %d: %+v, %v", i, r, r.Err())
			}
		case <-time.After(patience):
			t.Errorf("watch %d sees nothing", i)
		}
	}
}
