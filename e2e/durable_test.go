package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/localfleet"
)

// durableTimeout is how long a write waits for other regions here. A tenth of it is for the answer's way back.
const durableTimeout = 10 * time.Second

// durable is three regions, of which the last one is killed.
type durable struct {
	*run
	us, eu *clientv3.Client
}

// A region is away: who asks for it is told that his write is committed, and in which regions, within the time; who
// asks for less has his answer at once. docs/operating.md has it under "Durable in other regions".
func TestWritesWaitForTheRegionsThatWereAskedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	ctx, dir := t.Context(), t.TempDir()
	binary := built(t)
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve"}, Regions: []string{"us", "eu", "ap"}, Nodes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, r := range f.Regions {
		r.Nodes[0].Config.Durability = &localfleet.Durability{
			Prefixes: map[string]string{"/payments/": "all", "/payments/log/": "regions=1"},
			Timeout:  durableTimeout.String(),
		}
		if err := r.Save(); err != nil {
			t.Fatal(err)
		}
	}
	runDurable(ctx, t, Options{Binary: binary, Dir: dir, Out: testWriter{t}}, f, (*durable).story)
}

// runDurable starts the nodes of a fleet, and has a story told of them.
func runDurable(
	ctx context.Context, t *testing.T, o Options, f *localfleet.Fleet, story func(*durable, context.Context) error,
) {
	d := &durable{run: &run{Options: o, fleet: f}}
	d.report = report{out: d.Out, start: time.Now()}
	if err := errors.Join(localfleet.Start(f.Nodes()), d.awaitServing(ctx)); err != nil {
		t.Fatal(err)
	}
	clients, closeAll, err := connectEach(localfleet.Clients(f.Nodes()[:2]))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	d.us, d.eu = clients[0], clients[1]
	if err := story(d, ctx); err != nil {
		for _, n := range f.Nodes() {
			t.Logf("%s: %s", n.Config.Name, n.LastWords())
		}
		t.Fatal(err)
	}
}

func (d *durable) story(ctx context.Context) error {
	all := func(ctx context.Context) error { return putAs(ctx, d.us, "all", "/a") }
	if err := d.await(ctx, "a write is in all regions", func(ctx context.Context) string {
		if err := all(ctx); err != nil {
			return err.Error()
		}
		return ""
	}); err != nil {
		return err
	}
	ap := d.fleet.Region("ap").Nodes[0]
	ap.Kill()
	if err := d.refused(ctx); err != nil {
		return err
	}
	short := make(chan error, 1)
	go func() { short <- d.short(ctx) }()
	err := d.served(ctx)
	select {
	case early := <-short:
		return errors.Join(err, early, errors.New("who asks for less was answered no sooner than who waits"))
	default:
	}
	if err := errors.Join(err, <-short); err != nil {
		return err
	}
	if err := ap.Start(); err != nil {
		return err
	}
	return d.await(ctx, "a write is in all regions again", func(ctx context.Context) string {
		if err := errors.Join(all(ctx), putAs(ctx, d.eu, "", "/payments/1")); err != nil {
			return err.Error()
		}
		return ""
	})
}

// refused asks for what cannot be had.
func (d *durable) refused(ctx context.Context) (err error) {
	for said, code := range map[string]codes.Code{
		"regions=3": codes.FailedPrecondition, "most": codes.InvalidArgument,
	} {
		if got := putAs(ctx, d.eu, said, "/never"); status.Code(got) != code {
			err = errors.Join(err, fmt.Errorf("%s: %w", said, got))
		}
	}
	if found, lost := d.us.Get(ctx, "/never"); lost != nil || found.Count != 0 {
		err = errors.Join(err, fmt.Errorf("what was refused is there: %v, %w", found, lost))
	}
	return err
}

// short asks for what the region that is away has to have, all at once.
func (d *durable) short(ctx context.Context) error {
	cases := map[string]struct {
		client    *clientv3.Client
		said, key string
	}{
		"by request":                       {d.us, "regions=2", "/short/1"},
		"by request, all":                  {d.us, "all", "/short/2"},
		"by prefix":                        {d.us, "", "/payments/1"},
		"by prefix, and less is asked for": {d.us, "local", "/payments/2"},
		"by request at a secondary":        {d.eu, "regions=2", "/short/3"},
		"by prefix at a secondary":         {d.eu, "", "/payments/3"},
	}
	said := make(chan error, len(cases))
	for name, c := range cases {
		go func() { said <- d.falls(ctx, name, c.client, c.said, c.key) }()
	}
	var err error
	for range cases {
		err = errors.Join(err, <-said)
	}
	return err
}

// falls writes a key, and checks that the answer says in which regions it is, and that it is there.
func (d *durable) falls(ctx context.Context, name string, client *clientv3.Client, said, key string) error {
	began := time.Now()
	s := status.Convert(putAs(ctx, client, said, key))
	took := time.Since(began)
	header, _ := append(s.Details(), nil)[0].(*pb.ResponseHeader)
	there, err := d.us.Get(ctx, key)
	d.line("%s: after %s: %s", name, took.Round(time.Millisecond), s.Message())
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case s.Code() != codes.Unavailable, there.Count != 1, there.Kvs[0].ModRevision != header.GetRevision(),
		!strings.Contains(s.Message(), fmt.Sprintf("committed in the primary (revision %d)", header.GetRevision())),
		!strings.Contains(s.Message(), "in 2 of 3 regions: us, eu"):
		return fmt.Errorf("%s: %v after %s, details %v, there %v", name, s, took, s.Details(), there.Kvs)
	}
	return nil
}

// served asks for what the others have.
func (d *durable) served(ctx context.Context) (err error) {
	for _, client := range []*clientv3.Client{d.us, d.eu} {
		for key, said := range map[string]string{
			"/a": "local", "/b": "regions=1", "/c": "quorum", "/payments/log/1": "",
		} {
			if failed := putAs(ctx, client, said, key); failed != nil {
				err = errors.Join(err, fmt.Errorf("%s, %q: %w", key, said, failed))
			}
		}
	}
	return err
}

// putAs writes a key and asks for a durability, if it is not empty. The error is as the node gave it.
func putAs(ctx context.Context, client *clientv3.Client, said, key string) error {
	if said != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "mimir-durability", said)
	}
	_, err := pb.NewKVClient(client.ActiveConnection()).Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte("x")})
	return err
}
