package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
)

// Leases are the fleet's: keys hang on them here as there, and one on which other keys hang is not ended here.
func TestLeases(t *testing.T) {
	p := start(t)
	leases := pb.NewLeaseClient(p.conn)
	granted, err := leases.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{TTL: 600})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		conn *grpc.ClientConn
		key  string
	}{{p.conn, "/a/leased"}, {p.full, "/b/leased"}} {
		_, err := pb.NewKVClient(one.conn).Put(t.Context(), &pb.PutRequest{Key: []byte(one.key), Lease: granted.ID})
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := p.ask(t.Context(), "/a/leased", false)
	if err != nil || !strings.HasSuffix(got, fmt.Sprint(" l", granted.ID)) {
		t.Errorf("%q, %v", got, err)
	}
	ttl, err := leases.LeaseTimeToLive(t.Context(), &pb.LeaseTimeToLiveRequest{ID: granted.ID, Keys: true})
	if err != nil || len(ttl.Keys) != 1 || string(ttl.Keys[0]) != "/a/leased" {
		t.Errorf("%v, %v", ttl, err)
	}
	alive, err := leases.LeaseKeepAlive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := alive.Send(&pb.LeaseKeepAliveRequest{ID: granted.ID}); err != nil {
			t.Fatal(err)
		}
		if answer, err := alive.Recv(); err != nil || answer.TTL < 500 || answer.TTL > 600 {
			t.Errorf("%v, %v", answer, err)
		}
	}
	_, err = leases.LeaseRevoke(t.Context(), &pb.LeaseRevokeRequest{ID: granted.ID})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another's key would have gone: %v", err)
	}
	_, err = pb.NewKVClient(p.full).DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: []byte("/b/leased")})
	if err == nil {
		_, err = leases.LeaseRevoke(t.Context(), &pb.LeaseRevokeRequest{ID: granted.ID})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.ask(t.Context(), "/a/leased", false); err != nil || got != "" {
		t.Errorf("it ended: %q, %v", got, err)
	}
}

// However many streams keep leases alive here, and stay open: they take no place from others on the connection to the
// fleet, which has so many.
func TestKeepAlivesKeepNobodyOut(t *testing.T) {
	const places = 8
	p := startBeside(t, etcdapi.Limits{Streams: places}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	leases := pb.NewLeaseClient(p.conn)
	granted, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 600})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * places {
		alive, err := leases.LeaseKeepAlive(ctx)
		for range 2 {
			if err == nil {
				err = alive.Send(&pb.LeaseKeepAliveRequest{ID: granted.ID})
			}
			if err == nil {
				_, err = alive.Recv()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pb.NewKVClient(p.conn).Put(ctx, &pb.PutRequest{Key: []byte("/a/x")}); err != nil {
		t.Error(err)
	}
	alive, err := leases.LeaseKeepAlive(ctx)
	if err == nil {
		err = errors.Join(alive.Send(&pb.LeaseKeepAliveRequest{ID: 1}), alive.CloseSend())
	}
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := alive.Recv(); err != nil || answer.TTL != 0 || answer.ID != 1 {
		t.Errorf("of no lease: %v, %v", answer, err)
	}
	if _, err := alive.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("who said all that he wants: %v", err)
	}
}

// gather is how many requests are waited for.
type gather struct {
	missing atomic.Int64
	all     chan struct{}
}

// gathering answers nothing before all are there.
type gathering struct {
	grpc.ServerStream
	*gather
}

func (g *gathering) RecvMsg(m any) error {
	err := g.ServerStream.RecvMsg(m)
	if err == nil && g.missing.Add(-1) == 0 {
		close(g.all)
	}
	return err
}

func (g *gathering) SendMsg(m any) error {
	select {
	case <-g.all:
		return g.ServerStream.SendMsg(m)
	case <-g.Context().Done():
		return g.Context().Err()
	}
}

// Leases that are kept alive at once are not kept one after the other: over an ocean they would end meanwhile.
func TestKeepAlivesDoNotWaitForEachOther(t *testing.T) {
	p := startBeside(t, etcdapi.Limits{}, hang) // the stream ends when the client says so
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	leases := pb.NewLeaseClient(p.conn)
	const many = 100
	waits := map[int64]bool{}
	for range many {
		granted, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 600})
		if err != nil {
			t.Fatal(err)
		}
		waits[granted.ID] = true
	}
	g := &gather{all: make(chan struct{})}
	g.missing.Store(many)
	p.gather.Store(g)
	alive, err := leases.LeaseKeepAlive(ctx)
	for id := range waits {
		if err == nil {
			err = alive.Send(&pb.LeaseKeepAliveRequest{ID: id})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for len(waits) > 0 {
		answer, err := alive.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if !waits[answer.ID] || answer.TTL < 500 || answer.TTL > 600 {
			t.Fatalf("%v", answer)
		}
		delete(waits, answer.ID)
	}
	if err := alive.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := alive.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A client that takes no answers takes no place on the connection to the fleet either.
func TestAnswersThatNobodyTakesKeepNobodyOut(t *testing.T) {
	const places, many = 2, 20_000 // more than a window has room for
	p := startBeside(t, etcdapi.Limits{Streams: places}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var sent atomic.Int64
	for range 2 * places {
		alive, err := pb.NewLeaseClient(p.conn).LeaseKeepAlive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for range many {
				if alive.Send(&pb.LeaseKeepAliveRequest{ID: 1}) != nil {
					return
				}
				sent.Add(1)
			}
		}()
	}
	for before := int64(-1); before != sent.Load(); { // until no more of them goes
		before = sent.Load()
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("they go on and on")
		}
	}
	if _, err := pb.NewKVClient(p.conn).Put(ctx, &pb.PutRequest{Key: []byte("/a/x")}); err != nil {
		t.Fatal(err)
	}
}
