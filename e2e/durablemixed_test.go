package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/localfleet"
)

// TestVersionBeforeDurable: in a fleet of two versions nobody says of a write that it is in other regions where it is
// not, whichever version leads. A node of one that knows nothing of that says nothing of it.
func TestVersionBeforeDurable(t *testing.T) {
	if *before == "" {
		t.Skip("builds another version and runs for minutes; see CONTRIBUTING.md: -before last")
	}
	old, this := binaryOf(t, *before, t.TempDir()), built(t)
	for _, c := range []struct{ name, us, eu, ap string }{
		{"led by the version before", old, this, this},
		{"led by this one", this, old, this},
		{"the version before away", this, this, old},
	} {
		t.Run(c.name, func(t *testing.T) {
			beside(t, this, c.us, c.eu, c.ap)
		})
	}
}

// beside tells the story of a fleet of these binaries.
func beside(t *testing.T, this string, binaries ...string) {
	ctx, dir := t.Context(), t.TempDir()
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{this, "serve"}, Regions: []string{"us", "eu", "ap"}, Nodes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, n := range f.Nodes() {
		n.Command = []string{binaries[i], "serve"}
	}
	runDurable(ctx, t, Options{Binary: this, Dir: dir, Out: testWriter{t}}, f, (*durable).tell)
}

func (d *durable) tell(ctx context.Context) error {
	everywhere := func(ctx context.Context) string {
		if err := errors.Join(putAs(ctx, d.us, "all", "/a"), putAs(ctx, d.eu, "all", "/a")); err != nil {
			return err.Error()
		}
		return ""
	}
	if err := d.await(ctx, "a write is in all regions", everywhere); err != nil {
		return err
	}
	ap := d.fleet.Region("ap").Nodes[0]
	ap.Kill()
	for name, client := range map[string]*clientv3.Client{"us": d.us, "eu": d.eu} {
		if said := putAs(ctx, client, "most", "/never"); said == nil {
			d.line("%s is of a version that knows nothing of durability", name)
			continue
		}
		if err := d.asked(ctx, name, client); err != nil {
			return err
		}
	}
	if err := ap.Start(); err != nil {
		return err
	}
	return d.await(ctx, "a write is in all regions again", everywhere)
}

// asked asks a node for what two of three regions have, and for what they have not.
func (d *durable) asked(ctx context.Context, name string, client *clientv3.Client) (err error) {
	for said, code := range map[string]codes.Code{
		"local": codes.OK, "regions=1": codes.OK, "quorum": codes.OK,
		"all": codes.Unavailable, "regions=2": codes.Unavailable, "regions=3": codes.FailedPrecondition,
	} {
		bounded, cancel := context.WithTimeout(ctx, 2*durableTimeout)
		s := status.Convert(putAs(bounded, client, said, "/a"))
		cancel()
		d.line("%s, at %s: %v: %s", said, name, s.Code(), s.Message())
		header, _ := append(s.Details(), nil)[0].(*pb.ResponseHeader)
		if s.Code() != code || code == codes.Unavailable &&
			(header.GetRevision() == 0 || !strings.Contains(s.Message(), "is in 2 of 3")) {
			err = errors.Join(err, fmt.Errorf("%s, at %s: %v, details %v", said, name, s, s.Details()))
		}
	}
	return err
}
