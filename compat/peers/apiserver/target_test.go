package apiserver

import (
	"os"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/storage/etcd3/testserver"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
	"github.com/mimir-kv/mimir/localfleet"
)

// progress is how often a quiet watch is told of its progress: the cases wait for it half a minute at most.
const progress = time.Second

func TestMain(m *testing.M) { os.Exit(fleet.Main(m)) }

// startMimir starts a fleet and returns the addresses of its regions for clients, by their roles.
func startMimir(t *testing.T) (primary, secondary []string) {
	t.Helper()
	f := fleet.Start(t, fleet.Options{Nodes: 1, Flags: []string{"--watch-progress-interval", progress.String()}})
	p, s, err := f.AwaitServing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return localfleet.Clients(p.Nodes), localfleet.Clients(s.Nodes)
}

// startEtcd starts an etcd of one member and returns its address for clients.
func startEtcd(t *testing.T) []string {
	t.Helper()
	config := testserver.NewTestConfig(t)
	config.WatchProgressNotifyInterval = progress
	return testserver.RunEtcd(t, config).Endpoints()
}
