package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	clientset "k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// informer is a client's cache of all objects, which a watch keeps up to date.
type informer struct {
	lister listers.ConfigMapLister
	*book

	mu    sync.Mutex
	steps []step // that went back
}

// step is what the cache showed of an object one after the other.
type step struct{ before, after *core.ConfigMap }

// inform starts a cache and waits until it is filled.
func inform(ctx context.Context, b *book, c clientset.Interface) (*informer, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(c, 0, informers.WithNamespace(namespace))
	maps := factory.Core().V1().ConfigMaps()
	i := &informer{lister: maps.Lister(), book: b}
	registered, err := maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, after any) { i.updated(before.(*core.ConfigMap), after.(*core.ConfigMap)) },
	})
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	return i, eventually(ctx, func(ctx context.Context) error {
		if !registered.HasSynced() {
			return errors.New("an informer is not filled")
		}
		return nil
	})
}

func (i *informer) updated(before, after *core.ConfigMap) {
	_, was := versionOf(before)
	if _, is := versionOf(after); is > was {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.steps = append(i.steps, step{before, after})
}

// judge says what the cache showed that it must not have.
func (i *informer) judge() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.steps {
		before, was := versionOf(s.before)
		after, is := versionOf(s.after)
		i.wrong(i.line(s.before.Name).passed(before, was, after, is))
	}
	i.steps = nil
}

// contents returns what the cache has, by name and resource version.
func (i *informer) contents() (map[string]string, error) {
	objects, err := i.lister.ConfigMaps(namespace).List(labels.Everything())
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, o := range objects {
		if isOurs(o.Name) {
			all[o.Name] = o.ResourceVersion
		}
	}
	return all, nil
}

// caughtUp says whether the cache shows everything that was acknowledged when some reads began.
func (i *informer) caughtUp(starts map[string]began) error {
	for name, at := range starts {
		o, err := i.lister.ConfigMaps(namespace).Get(name)
		if at.floor < 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("in a cache: %w", err)
		}
		if version, number := versionOf(o); number < at.floor {
			return fmt.Errorf("a cache has %s, number %d, of %s, and %d was acknowledged", version, number, name,
				at.floor)
		}
	}
	return nil
}

// sameAs wants the cache to have what a list has.
func (i *informer) sameAs(want map[string]string) error {
	have, err := i.contents()
	if err != nil {
		return err
	}
	return same("a cache", have, want)
}

func same(what string, have, want map[string]string) error {
	if maps.Equal(have, want) {
		return nil
	}
	for name, resource := range want {
		if have[name] != resource {
			return fmt.Errorf("%s has %s at %q, and the list has it at %q", what, name, have[name], resource)
		}
	}
	return fmt.Errorf("%s has %d objects, and the list has %d", what, len(have), len(want))
}

// remember makes events, which end by leases of the store: the API server has many of them on one lease.
func (t *traffic) remember(ctx context.Context, c clientset.Interface) {
	t.clients.Go(func() {
		t.repeat(ctx, slowPace, func(ctx context.Context) {
			_, err := c.CoreV1().Events(namespace).Create(ctx, &core.Event{
				ObjectMeta:     meta.ObjectMeta{GenerateName: "judge-", Namespace: namespace},
				InvolvedObject: core.ObjectReference{Kind: "ConfigMap", Namespace: namespace, Name: chained},
				Reason:         "Judged", Type: core.EventTypeNormal,
			}, meta.CreateOptions{})
			t.answered("event", err)
		})
	})
}

// election is how long a leader may be silent, tries to be heard, and waits between two tries: those of Kubernetes'
// own components.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// leaseOf is the Lease that candidates compete for, as one of that name sees it.
func leaseOf(c clientset.Interface, name string) resourcelock.Interface {
	return &resourcelock.LeaseLock{
		LeaseMeta: meta.ObjectMeta{Namespace: namespace, Name: "judge"}, Client: c.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: name},
	}
}

// campaign has one candidate compete for a Lease, again and again. Two that lead at a time are an error. Nobody gives
// the Lease up: who cannot renew it would do that before he is told that he leads no more.
func (t *traffic) campaign(ctx context.Context, lease resourcelock.Interface, leaders *atomic.Int64) error {
	name := lease.Identity()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lease, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				if leaders.Add(1) > 1 {
					t.overlap(name)
				}
				t.answered("elected", nil)
				<-ctx.Done()
				leaders.Add(-1)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	t.clients.Go(func() {
		for ctx.Err() == nil {
			elector.Run(ctx)
		}
	})
	return nil
}

// overlap notes that one was elected while another led, which it may only behind a failover that lost who did.
func (b *book) overlap(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.overlaps {
		b.problems = append(b.problems, name+" was elected while another led")
	}
}
