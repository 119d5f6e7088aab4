package apiserver

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/feature"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/utils/clock"
)

// cached puts the API server's watch cache before the storage. It lists and watches there, and asks for progress when
// it has to answer a consistent read.
func (s *store) cached() storage.Interface { return s.cachedBy(storage.NamespaceKeyFunc) }

// cachedBy is cached with another way from a pod to its key.
func (s *store) cachedBy(key func(prefix string, pod runtime.Object) (string, error)) storage.Interface {
	c, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: s.Interface, Versioner: storage.APIObjectVersioner{},
		GroupResource:       schema.GroupResource{Resource: "pods"},
		EventsHistoryWindow: cacher.DefaultEventFreshDuration, ResourcePrefix: podsPrefix,
		KeyFunc:      func(o runtime.Object) (string, error) { return key(podsPrefix, o) },
		GetAttrsFunc: attributes,
		NewFunc:      func() runtime.Object { return &example.Pod{} },
		NewListFunc:  func() runtime.Object { return &example.PodList{} },
		Codec:        s.codec, Clock: clock.RealClock{},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Stop)
	if err := c.Wait(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	s.awaitSupport()
	delegator := cacher.NewCacheDelegator(c, s.Interface)
	s.t.Cleanup(delegator.Stop)
	return delegator
}

// awaitSupport waits until the API server has found that watches of this server tell their progress when asked. It
// looks at the version for that, in the background.
func (s *store) awaitSupport() {
	s.t.Helper()
	supports := feature.DefaultFeatureSupportChecker.Supports
	for deadline := time.Now().Add(time.Minute); !supports(storage.RequestWatchProgress); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the API server thinks that watches do not tell their progress")
		}
	}
}

// attributes are what the cases select pods by.
func attributes(object runtime.Object) (labels.Set, fields.Set, error) {
	pod, ok := object.(*example.Pod)
	if !ok {
		return nil, nil, errors.New("this is no pod")
	}
	return pod.Labels, fields.Set{
		"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "spec.nodeName": pod.Spec.NodeName,
	}, nil
}

// plainCached is plain behind the cache.
func plainCached(name string, test func(context.Context, *testing.T, storage.Interface)) one {
	return one{name: name + "Cached", run: func(s *store) { test(s.ctx, s.t, s.cached()) }}
}

// caches are about the watch cache, as far as it hangs on what the server tells: the order and the progress of watches,
// and reads that must not be older than others.
func caches() []one {
	consistent := func(snapshots bool) one {
		return one{name: "ConsistentListCached", run: func(s *store) {
			storagetesting.RunTestConsistentList(s.ctx, s.t, s.cached(), s.write, true, true, snapshots)
		}}
	}
	all := append(with("", features.ListFromCacheSnapshot, false, consistent(false)),
		with("FromSnapshots", features.ListFromCacheSnapshot, true, consistent(true))...)
	return append(all,
		one{name: "GetListNonRecursiveCached", run: func(s *store) {
			storagetesting.RunTestGetListNonRecursive(s.ctx, s.t, s.write, s.cached())
		}},
		plainCached("GetListRecursivePrefix", storagetesting.RunTestGetListRecursivePrefix),
		plainCached("NamespaceScopedList", storagetesting.RunTestNamespaceScopedList),
		plainCached("Watch", storagetesting.RunTestWatch),
		plainCached("DeleteTriggerWatch", storagetesting.RunTestDeleteTriggerWatch),
		plainCached("WatchFromNonZero", storagetesting.RunTestWatchFromNonZero),
		plainCached("DelayedWatchDelivery", storagetesting.RunTestDelayedWatchDelivery),
		plainCached("WatchDeleteEventObjectHaveLatestRV", storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV),
		plainCached("WatchInitializationSignal", storagetesting.RunTestWatchInitializationSignal),
		one{name: "ClusterScopedWatchCached", run: func(s *store) {
			storagetesting.RunTestClusterScopedWatch(s.ctx, s.t, s.cachedBy(storage.NoNamespaceKeyFunc))
		}},
		plainCached("NamespaceScopedWatch", storagetesting.RunTestNamespaceScopedWatch),
		one{name: "WatchDispatchBookmarkEventsCached", run: func(s *store) {
			storagetesting.RunTestWatchDispatchBookmarkEvents(s.ctx, s.t, s.cached(), true)
		}},
		plainCached("OptionalWatchBookmarksWithCorrectResourceVersion",
			storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion))
}
