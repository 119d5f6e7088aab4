package compat

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

var (
	regionsFlag     = flag.Int("compat-regions", 0, "seeds of TestAuthInTwoRegions; 0: it is skipped")
	regionNodesFlag = flag.Int("compat-region-nodes", 1, "nodes of each of its regions")
)

const (
	// regionMoves is how often the primary moves in a history, where root can order it.
	regionMoves = 4
	// moveEvery is after how many requests it is tried: wrong passwords keep who tries them waiting, and others too.
	moveEvery = 40
)

// TestAuthInTwoRegions does what TestAuth does with a fleet of processes, two regions a few milliseconds apart: each
// request goes to any node of either, and the primary moves from one to the other and back all the while. In the end
// every node of both regions says the same of users and roles as etcd does.
func TestAuthInTwoRegions(t *testing.T) {
	if *regionsFlag == 0 {
		t.Skip("-compat-regions says of how many seeds")
	}
	binary := buildMimir(t)
	for seed := range uint64(*regionsFlag) {
		if *seedFlag != 0 && seed+1 != *seedFlag {
			continue
		}
		t.Run(fmt.Sprintf("seed %d", seed+1), func(t *testing.T) {
			setting := "simple"
			if seed%2 == 0 {
				setting = jwtSetting(t)
			}
			r := startRegions(t, binary, setting)
			d := beginAuth(newDuelAt(t, seed+1, setting, r.endpoints()), setting)
			moves := 0
			for i := range *stepsFlag {
				due := min(i*(regionMoves+1) / *stepsFlag, regionMoves)
				if i%moveEvery == 0 && moves < due && r.move(d) {
					moves++
				}
				d.step()
			}
			d.compareNodes()
			d.tell()
			t.Logf("%d moves of the primary, at %d nodes", moves, len(d.mimir))
		})
	}
}

// compareNodes asks every node about all users and roles, as root where there is one.
func (d *authDuel) compareNodes() {
	d.Helper()
	d.asker, d.given = nil, nil
	d.both(&pb.AuthenticateRequest{Name: "root", Password: d.passwords["root"]})
	d.asker = d.given
	all := d.mimir
	for _, node := range all {
		d.catchUp(node)
		d.mimir = []*side{node}
		d.both(&pb.AuthStatusRequest{})
		d.both(&pb.AuthUserListRequest{})
		d.both(&pb.AuthRoleListRequest{})
		for _, name := range userNames {
			d.both(&pb.AuthUserGetRequest{Name: name})
		}
		for _, name := range roleNames {
			d.both(&pb.AuthRoleGetRequest{Role: name})
		}
	}
	d.mimir = all
}

// regions is a fleet of two.
type regions struct {
	*testing.T
	*localfleet.Fleet
	primary int // of its regions
}

func buildMimir(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "mimir")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/mimir")
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return binary
}

func startRegions(t *testing.T, binary, tokens string) *regions {
	t.Helper()
	f, err := localfleet.New(localfleet.Options{
		Dir: t.TempDir(), Regions: []string{"us", "eu"}, Nodes: *regionNodesFlag, Delay: 5 * time.Millisecond,
		Command: []string{binary, "serve", "--auth-token", tokens, "--bcrypt-cost", "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if err := localfleet.Start(f.Nodes()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range f.Nodes() {
			if t.Failed() {
				t.Logf("%s: %s", n.Config.Name, n.LastWords())
			}
		}
	})
	r := &regions{T: t, Fleet: f}
	r.await()
	return r
}

func (r *regions) endpoints() []string { return localfleet.Clients(r.Nodes()) }

func (r *regions) client() *admin.Client {
	r.Helper()
	c, err := admin.NewClient(r.endpoints(), nil)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(c.Close)
	return c
}

// await waits until every node is healthy, and knows the primary and who leads the regions: the first user is refused
// where a region's leader cannot be asked whether all of its nodes know users.
func (r *regions) await() {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	c, want := r.client(), r.Regions[r.primary].Name
	for _, endpoint := range r.endpoints() {
		for {
			node, err := c.At(endpoint).Node(ctx)
			if err == nil && node.Healthy && node.Primary == want && leadersKnown(ctx, c.At(endpoint)) {
				break
			}
			select {
			case <-ctx.Done():
				r.Fatalf("%s does not know that %s is primary: %+v, %v", endpoint, want, node, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// leadersKnown reports whether a node knows a leader of every region.
func leadersKnown(ctx context.Context, c *admin.Client) bool {
	f, err := c.Fleet(ctx)
	leaderless := func(r replication.RegionStatus) bool { return r.Leader == "" }
	return err == nil && !slices.ContainsFunc(f.Regions, leaderless)
}

// move makes the other region the primary, as root where that is asked for. It returns false if nobody can say that he
// is root just now, having an empty password or an old token.
func (r *regions) move(d *authDuel) bool {
	r.Helper()
	to, who := r.Regions[1-r.primary].Name, r.client().WithUser("root", d.passwords["root"])
	for _, one := range d.logged {
		if one.user == "root" && d.passwords["root"] == "" {
			who = r.client().WithToken(one.mimir)
		}
	}
	report, err := who.Switchover(r.Context(), to)
	var refused *admin.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusForbidden || refused.Status == http.StatusBadRequest) {
		d.history = append(d.history, "no move: "+err.Error())
		return false
	}
	if err != nil || report.To != to {
		r.Fatalf("switchover to %s: %+v, %v", to, report, err)
	}
	d.history = append(d.history, "the primary moves to "+to)
	r.primary = 1 - r.primary
	r.await()
	return true
}
