package robustness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/tests/v3/robustness/client"
	"go.etcd.io/etcd/tests/v3/robustness/identity"
	"go.etcd.io/etcd/tests/v3/robustness/report"
	"go.etcd.io/etcd/tests/v3/robustness/traffic"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// kind is what clients do. These are those of etcd's own exploratory runs.
type kind struct {
	name    string
	traffic traffic.Traffic
	load    *traffic.KeyValue
}

var kinds = []kind{
	{"EtcdPut", traffic.EtcdPut, &traffic.KeyValueHigh},
	{"EtcdPutDeleteLease", traffic.EtcdPutDeleteLease, &traffic.KeyValueMedium},
	{"Kubernetes", traffic.Kubernetes, &traffic.KeyValueMedium},
}

// calm is how long there is traffic before and after what happens.
const calm = time.Second

// keyCount is how many keys etcd's own traffic is about.
const keyCount = 10

// seen is what the clients of one scenario saw.
type seen struct {
	reports   []report.ClientReport
	perSecond float64 // requests that were answered before something happened
}

// simulate has clients work while something happens, and others watch at every node, and returns when all is quiet and
// every watcher has seen all.
func simulate(
	ctx context.Context, logger *zap.Logger, endpoints []string, k kind, happen func(context.Context) error,
) (*seen, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ids, base := identity.NewIDProvider(), time.Now()
	clients, watchers := client.NewSet(ids, base), client.NewSet(ids, base)
	defer clients.Close()
	defer watchers.Close()
	s, group := &seen{}, errgroup.Group{}
	last := make(chan int64, 1)
	group.Go(func() error {
		defer close(last)
		reports, err := s.load(ctx, logger, endpoints, k, clients, happen)
		if err != nil {
			cancel()
			return err
		}
		last <- report.OperationsMaxRevision(reports)
		return nil
	})
	group.Go(func() error {
		return client.CollectClusterWatchEvents(ctx, client.CollectClusterWatchEventsParam{
			Lg: logger, Endpoints: endpoints, MaxRevisionChan: last, ClientSet: watchers,
		})
	})
	err := group.Wait()
	s.reports = slices.Concat(clients.Reports(), watchers.Reports())
	return s, err
}

// load is what the clients do.
func (s *seen) load(
	ctx context.Context, logger *zap.Logger, endpoints []string, k kind, set *client.ClientSet,
	happen func(context.Context) error,
) ([]report.ClientReport, error) {
	if err := traffic.CheckEmptyDatabaseAtStart(ctx, logger, endpoints, set); err != nil {
		return nil, err
	}
	var running sync.WaitGroup
	began, finish := time.Since(set.BaseTime()), make(chan struct{})
	err := begin(ctx, &running, finish, logger, endpoints, k, set)
	if err == nil {
		err = sleep(ctx, calm)
	}
	happened := time.Since(set.BaseTime())
	if err == nil {
		err = happen(ctx)
	}
	if err == nil {
		err = sleep(ctx, calm)
	}
	close(finish)
	running.Wait()
	if err != nil {
		return nil, err
	}
	// The validation wants the last request to have succeeded.
	one, err := set.NewClient(endpoints)
	if err != nil {
		return nil, err
	}
	defer one.Close()
	if _, err := one.Put(ctx, "tombstone", "true"); err != nil {
		return nil, fmt.Errorf("the last request: %w", err)
	}
	reports := set.Reports()
	before := traffic.CalculateStats(reports, began, happened)
	s.perSecond = before.QPS()
	return reports, nil
}

// begin starts clients of all that there are in such a run. They end when finish is closed.
func begin(
	ctx context.Context, running *sync.WaitGroup, finish <-chan struct{}, logger *zap.Logger, endpoints []string,
	k kind, set *client.ClientSet,
) error {
	limiter := rate.NewLimiter(rate.Limit(k.load.MaximalQPS), k.load.BurstableQPS)
	keys, objects := traffic.NewKeyStore(keyCount, "key"), traffic.NewKubernetesStorage()
	err := traffic.SimulateKeyValueTraffic(ctx, running, k.load, endpoints, set, k.traffic, traffic.RunTrafficLoopParam{
		QPSLimiter: limiter, IDs: set.IdentityProvider(), LeaseIDStorage: identity.NewLeaseIDStorage(),
		NonUniqueRequestConcurrencyLimiter: traffic.NewConcurrencyLimiter(k.load.MaxNonUniqueRequestConcurrency),
		KeyStore:                           keys, Storage: objects, Finish: finish,
	})
	if err != nil {
		return err
	}
	watch := traffic.WatchDefault
	err = traffic.SimulateWatchTraffic(ctx, running, &watch, endpoints, set, k.traffic, traffic.RunWatchLoopParam{
		Config: watch, QPSLimiter: limiter, KeyStore: keys, Storage: objects, Finish: finish, Logger: logger,
	})
	if err != nil {
		return err
	}
	compaction := traffic.CompactionDefault
	return traffic.SimulateCompactionTraffic(ctx, running, &compaction, endpoints, set, k.traffic,
		traffic.RunCompactLoopParam{Period: compaction.Period, Finish: finish})
}
