package kubernetes

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
	"github.com/mimir-kv/mimir/localfleet"
)

// TestMigration moves an API server's data from an etcd into a fleet by the recipe of docs/migration.md, while its
// clients write, list and watch. The API server is started anew once, on the fleet; resource versions go on, so that no
// client notices more than that. Then the primary moves, and its region is lost.
func TestMigration(t *testing.T) {
	if *apiServer == "" {
		t.Skip("no -kube-apiserver")
	}
	s := &migration{story: &story{t: t, book: newBook()}, etcd: startEtcd(t)}
	s.open([]string{s.etcd})
	s.happen("the etcd is imported by a fleet, which follows", s.bringIn)
	s.happen("both are compared", s.compareBoth)
	s.happen("the etcd is fenced, the fleet opened, and the API server started on it", s.finishImport)
	s.happen("a switchover", s.switchover)
	s.happen("the primary region is killed, a forced failover, and it comes back", s.kill)
	s.finish()
}

// migration is a story that begins on an etcd.
type migration struct {
	*story
	etcd     string // address
	follower *localfleet.Node
	verified string // revision
}

// startEtcd starts an etcd of one member that ends with the test, and returns its address.
func startEtcd(t *testing.T) string {
	t.Helper()
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c := embed.NewConfig()
	c.Dir, c.LogLevel, c.UnsafeNoFsync = t.TempDir(), "panic", true
	c.ListenClientUrls, c.AdvertiseClientUrls = anyPort, anyPort
	c.ListenPeerUrls, c.AdvertisePeerUrls = anyPort, anyPort
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("etcd is not ready after %s", patience)
	}
	return e.Clients[0].Addr().String()
}

// bringIn imports the etcd on the nodes of the first region, starts the fleet, and has it follow.
func (s *migration) bringIn(ctx context.Context) error {
	from, snapshot := "http://"+s.etcd, filepath.Join(s.t.TempDir(), "etcd.db")
	err := s.found(ctx, fleet.Options{Votes: true, Prepare: func(n *localfleet.Node) error {
		arguments := []string{"import", "--from", from, "--follow", "--config", n.ConfigPath()}
		if from != snapshot {
			arguments = append(arguments, "--keep", snapshot)
		}
		from = snapshot
		_, err := fleet.Run(ctx, arguments...)
		return err
	}})
	if err != nil {
		return err
	}
	s.follower = &localfleet.Node{
		Dir: s.t.TempDir(), Config: localfleet.Config{Name: "import follow"},
		Arguments: fleet.Command("import", "follow", "--from", "http://"+s.etcd, "--endpoints", s.addresses()),
	}
	if err := s.follower.Start(); err != nil {
		return err
	}
	s.t.Cleanup(s.follower.Kill)
	return s.awaitFollowed(ctx)
}

func (s *migration) addresses() string { return strings.Join(s.Endpoints(), ",") }

// awaitFollowed waits until the fleet has the revision that the etcd has now.
func (s *migration) awaitFollowed(ctx context.Context) error {
	revision := func(ctx context.Context, endpoint string) (int64, error) {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		r, err := c.Get(ctx, "/", clientv3.WithCountOnly())
		if err != nil {
			return 0, err
		}
		return r.Header.Revision, nil
	}
	want, err := revision(ctx, s.etcd)
	if err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		if !s.follower.Running() {
			return fmt.Errorf("import follow ended: %s: %s", s.follower.Exit(), s.follower.LastWords())
		}
		have, err := revision(ctx, s.secondary.Nodes[0].Config.ListenClient)
		if err == nil && have < want {
			err = fmt.Errorf("the fleet is at revision %d of %d", have, want)
		}
		return err
	})
}

var equalAt = regexp.MustCompile(`equal at revision (\d+)`)

// compareBoth compares the fleet with the etcd, while both go on.
func (s *migration) compareBoth(ctx context.Context) error {
	said, err := fleet.Run(ctx, "import", "verify", "--from", "http://"+s.etcd, "--endpoints", s.addresses())
	if err != nil {
		return err
	}
	found := equalAt.FindStringSubmatch(said)
	if found == nil {
		return fmt.Errorf("import verify says %q", said)
	}
	s.t.Log(said)
	s.verified = found[1]
	return nil
}

// finishImport opens the fleet behind the etcd's last revision, and has the API server use it.
func (s *migration) finishImport(ctx context.Context) error {
	began := time.Now()
	said, err := fleet.Run(ctx, "import", "finish", "--fence", "--verified", s.verified,
		"--from", "http://"+s.etcd, "--endpoints", s.addresses())
	if err != nil {
		return err
	}
	s.t.Logf("after %s: %s", time.Since(began).Round(time.Millisecond), said)
	select {
	case <-s.follower.Ended():
	case <-time.After(patience):
		return fmt.Errorf("import follow has not ended after %s: %s", patience, s.follower.LastWords())
	}
	return s.server.move(ctx, s.Endpoints())
}
