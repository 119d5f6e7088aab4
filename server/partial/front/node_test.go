package front

import (
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A client that takes its endpoints from the members has this node afterwards, by the URL that it is told.
func TestAClientThatSyncsItsEndpointsStaysHere(t *testing.T) {
	p := start(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + p.conn.Target()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := c.Endpoints(); !slices.Equal(now, []string{"http://edge"}) {
		t.Errorf("%q", now)
	}
}
