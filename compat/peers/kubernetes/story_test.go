package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
	"github.com/mimir-kv/mimir/localfleet"
)

// delay is that between the regions, one way.
const delay = 20 * time.Millisecond

// calm is for how long clients work between two things that happen.
const calm = 5 * time.Second

// unheard is for how long a region that is cut off leaves such watches as they are, by default, and a little more.
const unheard = 20 * time.Second

// story is one API server on one fleet, with its clients, from its beginning to its end.
type story struct {
	t *testing.T
	*fleet.Fleet
	*book
	server             *server
	admin              *clientset.Clientset
	traffic            *traffic
	end                func() // ends all clients but the caches
	caches             []*informer
	primary, secondary *localfleet.Region
	lossy              bool // a failover of it loses something
}

// begin starts a fleet, an API server on all of its nodes, and clients.
func begin(t *testing.T, o fleet.Options) *story {
	t.Helper()
	if *apiServer == "" {
		t.Skip("no -kube-apiserver")
	}
	s := &story{t: t, book: newBook()}
	if err := s.found(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.open(s.Endpoints())
	return s
}

// found starts a fleet and waits until it serves.
func (s *story) found(ctx context.Context, o fleet.Options) (err error) {
	o.Nodes, o.Delay = *nodes, delay
	o.Flags = append(o.Flags, "--watch-progress-interval", "5s")
	s.Fleet = fleet.Start(s.t, o)
	s.primary, s.secondary, err = s.AwaitServing(ctx)
	return err
}

// open starts an API server on a store, and clients.
func (s *story) open(endpoints []string) {
	t := s.t
	t.Helper()
	ctx := t.Context()
	s.server = startServer(t, endpoints)
	s.admin = s.server.client(t)
	working, stopWork := context.WithCancel(ctx)
	s.traffic = drive(working, s.book, func() typed.ConfigMapInterface {
		return s.server.client(t).CoreV1().ConfigMaps(namespace)
	})
	s.end = func() {
		stopWork()
		s.traffic.clients.Wait()
	}
	t.Cleanup(s.end)
	watched, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	for range 2 {
		i, err := inform(watched, s.book, s.server.client(t))
		if err != nil {
			t.Fatal(err)
		}
		s.caches = append(s.caches, i)
	}
	s.traffic.remember(working, s.server.client(t))
	leaders := &atomic.Int64{}
	for _, name := range []string{"ann", "bob"} {
		if err := s.traffic.campaign(working, leaseOf(s.server.client(t), name), leaders); err != nil {
			t.Fatal(err)
		}
	}
	s.happen("nothing", func(context.Context) error { return nil })
}

// happen has something happen while clients work, waits until all caches have what was acknowledged by then, and tells
// what clients saw.
func (s *story) happen(what string, do func(context.Context) error) {
	s.t.Helper()
	ctx := s.t.Context()
	began := time.Now()
	if err := do(ctx); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	did := time.Since(began)
	s.work(ctx)
	starts := s.starts()
	began = time.Now()
	for _, i := range s.caches {
		if err := eventually(ctx, func(context.Context) error { return i.caughtUp(starts) }); err != nil {
			s.t.Errorf("%s: %v", what, err)
		}
	}
	s.t.Logf("%s: took %s; caches had all %s after it was asked\n\t%s", what, did.Round(time.Millisecond),
		time.Since(began).Round(time.Millisecond), strings.Join(s.chapter(), "\n\t"))
	for _, problem := range s.judgement() {
		s.t.Error(problem)
	}
	if err := s.server.same(); err != nil {
		s.t.Fatal(err)
	}
}

// work lets clients work for a while, and waits until each has written something again.
func (s *story) work(ctx context.Context) {
	starts := s.starts()
	time.Sleep(calm)
	if err := eventually(ctx, func(context.Context) error {
		for i := range writers {
			l := s.line(fmt.Sprintf("%s-%d", chained, i))
			if at := starts[l.name]; l.begin().floor <= at.floor {
				return fmt.Errorf("%s was not written again", l.name)
			}
		}
		return nil
	}); err != nil {
		s.t.Error(err)
	}
}

func (s *story) switchover(ctx context.Context) error {
	if err := s.Switchover(ctx, s.secondary); err != nil {
		return err
	}
	s.primary, s.secondary = s.secondary, s.primary
	return nil
}

// failover makes the other region the primary by order.
func (s *story) failover(ctx context.Context) error {
	report, err := s.Failover(ctx, s.secondary)
	if err != nil {
		return err
	}
	s.t.Logf("%s took over in epoch %d after position %d; it is known to lack %d commands", report.To, report.Epoch,
		report.Position, report.Behind)
	s.primary, s.secondary = s.secondary, s.primary
	return nil
}

// kill kills all of the primary region at once and makes the other one the primary. As nothing may be lost, there are
// no writes until the region is back.
func (s *story) kill(ctx context.Context) error {
	localfleet.Kill(s.primary.Nodes)
	if err := s.failover(ctx); err != nil {
		return err
	}
	return s.comeBack(ctx)
}

// comeBack starts what does not run, and waits until the regions are one fleet.
func (s *story) comeBack(ctx context.Context) error {
	if err := localfleet.Start(s.Nodes()); err != nil {
		return err
	}
	_, _, err := s.AwaitServing(ctx)
	return err
}

// lose has the primary acknowledge what the other region never gets, kills it, and makes the other one the primary.
func (s *story) lose(ctx context.Context) error {
	s.lossy = true
	s.Cut(s.primary.Name, s.secondary.Name)
	if err := s.ahead(ctx, 20); err != nil {
		return err
	}
	lost, err := s.newest()
	if err != nil {
		return err
	}
	token, err := s.admin.CoreV1().ConfigMaps(namespace).List(ctx, meta.ListOptions{Limit: 1})
	if err != nil {
		return err
	}
	s.mayLose()
	localfleet.Kill(s.primary.Nodes)
	s.Lose(s.primary.Name, s.secondary.Name)
	s.Heal(s.primary.Name, s.secondary.Name)
	if err := s.failover(ctx); err != nil {
		return err
	}
	s.mayLose()
	return s.told(ctx, lost, token.Continue)
}

// newest returns the greatest resource version that a write was acknowledged with.
func (s *story) newest() (string, error) {
	newest := uint64(0)
	for _, l := range s.all() {
		l.mu.Lock()
		for version := range l.acked {
			resource, err := strconv.ParseUint(l.resource[version], 10, 64)
			if err != nil {
				l.mu.Unlock()
				return "", err
			}
			newest = max(newest, resource)
		}
		l.mu.Unlock()
	}
	return strconv.FormatUint(newest, 10), nil
}

// ahead waits until so many more writes have been acknowledged.
func (s *story) ahead(ctx context.Context, writes int) error {
	before := s.starts()
	return eventually(ctx, func(context.Context) error {
		n := 0
		for i := range writers {
			l := s.line(fmt.Sprintf("%s-%d", chained, i))
			n += l.begin().floor - before[l.name].floor
		}
		if n < writes {
			return fmt.Errorf("%d writes of %d", n, writes)
		}
		return nil
	})
}

// told wants the API server to say that what a client has seen is gone, and not to go on from there.
func (s *story) told(ctx context.Context, resource, token string) error {
	objects := s.admin.CoreV1().ConfigMaps(namespace)
	return eventually(ctx, func(ctx context.Context) error {
		exact := meta.ListOptions{ResourceVersion: resource, ResourceVersionMatch: meta.ResourceVersionMatchExact}
		if _, err := objects.List(ctx, exact); !apierrors.IsResourceExpired(err) {
			return fmt.Errorf("a list exactly at %s, which was lost: %v", resource, err)
		}
		if _, err := objects.List(ctx, meta.ListOptions{Limit: 1, Continue: token}); !apierrors.IsResourceExpired(err) {
			return fmt.Errorf("the rest of a list that was lost: %v", err)
		}
		w, err := objects.Watch(ctx, meta.ListOptions{ResourceVersion: resource})
		if err != nil && !apierrors.IsResourceExpired(err) {
			return fmt.Errorf("a watch from %s, which was lost: %v", resource, err)
		}
		if err == nil {
			defer w.Stop()
			e := <-w.ResultChan()
			if err := apierrors.FromObject(e.Object); !apierrors.IsResourceExpired(err) {
				return fmt.Errorf("a watch from %s, which was lost: %s %v", resource, e.Type, err)
			}
		}
		return nil
	})
}

// TestLossless moves the primary in every way that loses nothing, where voters decide.
func TestLossless(t *testing.T) {
	s := begin(t, fleet.Options{Votes: true})
	s.happen("a switchover", s.switchover)
	s.happen("a switchover back", s.switchover)
	s.happen("the primary region is killed, a forced failover, and it comes back", s.kill)
	s.happen("the primary region stands still until the other one has taken over by itself", s.pause)
	s.happen("it is the secondary", s.heal)
	s.finish()
}

// pause has all of the primary region stand still until the other one has taken over by itself, and go on.
func (s *story) pause(ctx context.Context) error {
	if err := signal(s.primary, syscall.SIGSTOP); err != nil {
		return err
	}
	err := s.AwaitPrimary(ctx, s.secondary)
	s.primary, s.secondary = s.secondary, s.primary
	return errors.Join(err, signal(s.secondary, syscall.SIGCONT))
}

func signal(r *localfleet.Region, what syscall.Signal) (err error) {
	for _, n := range r.Nodes {
		err = errors.Join(err, syscall.Kill(n.PID(), what))
	}
	return err
}

// cut cuts the regions off from each other, for longer than a watch that requires a leader is left without news. The
// API server reaches both. Its clients work meanwhile, and afterwards until their caches have what was acknowledged.
func (s *story) cut(context.Context) error {
	s.Cut(s.primary.Name, s.secondary.Name)
	time.Sleep(unheard)
	return nil
}

// heal undoes cut.
func (s *story) heal(ctx context.Context) error {
	s.Heal(s.primary.Name, s.secondary.Name)
	_, _, err := s.AwaitServing(ctx)
	return err
}

// TestLossy forces a failover that loses what was acknowledged, where nobody votes.
func TestLossy(t *testing.T) {
	s := begin(t, fleet.Options{})
	s.happen("a switchover", s.switchover)
	s.happen("the regions are cut off from each other", s.cut)
	s.happen("they are not any more", s.heal)
	s.happen("the primary region is lost with what had not crossed, a forced failover", s.lose)
	s.happen("the lost region comes back", s.comeBack)
	s.happen("a switchover back", s.switchover)
	s.finish()
}
