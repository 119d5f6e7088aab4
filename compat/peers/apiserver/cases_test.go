package apiserver

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/component-base/featuregate"
)

// one is a case with the feature gates that it wants to be set.
type one struct {
	name  string
	gates map[featuregate.Feature]bool
	run   func(*store)
	bare  bool // it wants to know whole keys: nothing is put before them
}

// plain makes a case of a test that wants nothing but a storage.
func plain(name string, test func(context.Context, *testing.T, storage.Interface)) one {
	return one{name: name, run: func(s *store) { test(s.ctx, s.t, s) }}
}

// with sets a feature gate for some cases, and says so in their names.
func with(suffix string, gate featuregate.Feature, on bool, cases ...one) (changed []one) {
	for _, c := range cases {
		gates := map[featuregate.Feature]bool{gate: on}
		for other, on := range c.gates {
			gates[other] = on
		}
		changed = append(changed, one{c.name + suffix, gates, c.run, c.bare})
	}
	return changed
}

// streamedOrNot doubles cases: once with lists in pages, once as a stream.
func streamedOrNot(cases ...one) []one {
	return append(with("Paged", features.EtcdRangeStream, false, cases...),
		with("Streamed", features.EtcdRangeStream, true, cases...)...)
}

// cases are all exported tests of this storage, and of the watch cache before it those that hang on what the server
// tells.
func cases() (all []one) {
	// First those that watch from the first revision on: others compact.
	for _, some := range [][]one{semantics(), watches(), singles(), corruptions(), lists(), caches()} {
		all = append(all, some...)
	}
	return all
}

// singles are about one object.
func singles() []one {
	return []one{
		{name: "Create", run: func(s *store) { storagetesting.RunTestCreate(s.ctx, s.t, s, s.storedWell) }},
		plain("CreateWithTTL", storagetesting.RunTestCreateWithTTL),
		plain("CreateWithKeyExist", storagetesting.RunTestCreateWithKeyExist),
		plain("Get", storagetesting.RunTestGet),
		plain("UnconditionalDelete", storagetesting.RunTestUnconditionalDelete),
		plain("ConditionalDelete", storagetesting.RunTestConditionalDelete),
		plain("DeleteWithSuggestion", storagetesting.RunTestDeleteWithSuggestion),
		plain("DeleteWithSuggestionAndConflict", storagetesting.RunTestDeleteWithSuggestionAndConflict),
		plain("DeleteWithConflict", storagetesting.RunTestDeleteWithConflict),
		plain("DeleteWithSuggestionOfDeletedObject", storagetesting.RunTestDeleteWithSuggestionOfDeletedObject),
		plain("ValidateDeletionWithSuggestion", storagetesting.RunTestValidateDeletionWithSuggestion),
		plain("ValidateDeletionWithOnlySuggestionValid", storagetesting.RunTestValidateDeletionWithOnlySuggestionValid),
		plain("PreconditionalDeleteWithSuggestion", storagetesting.RunTestPreconditionalDeleteWithSuggestion),
		plain("PreconditionalDeleteWithOnlySuggestionPass",
			storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass),
		{name: "GuaranteedUpdate", run: func(s *store) {
			storagetesting.RunTestGuaranteedUpdate(s.ctx, s.t, s, s.storedWell)
		}},
		plain("GuaranteedUpdateWithTTL", storagetesting.RunTestGuaranteedUpdateWithTTL),
		{name: "GuaranteedUpdateChecksStoredData", run: func(s *store) {
			storagetesting.RunTestGuaranteedUpdateChecksStoredData(s.ctx, s.t, s)
		}},
		plain("GuaranteedUpdateWithConflict", storagetesting.RunTestGuaranteedUpdateWithConflict),
		plain("GuaranteedUpdateWithSuggestionAndConflict",
			storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict),
		{name: "TransformationFailure", run: func(s *store) {
			storagetesting.RunTestTransformationFailure(s.ctx, s.t, s)
		}},
		plain("KeySchema", storagetesting.RunTestKeySchema),
	}
}

// corruptions are about objects that cannot be read.
func corruptions() []one {
	const gate = features.AllowUnsafeMalformedObjectDeletion
	deletable := func(s *store) storage.Interface {
		return etcd3.NewStoreWithUnsafeCorruptObjectDeletion(s.Interface, schema.GroupResource{Resource: "pods"})
	}
	return append(with("", gate, true,
		one{name: "DeleteWithConflictAndDecodeErrorUnexpected", run: func(s *store) {
			storagetesting.RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError(s.ctx, s.t, s,
				s.codec.fail.Store)
		}},
		one{name: "DeleteExpectedTransformError", run: func(s *store) {
			storagetesting.RunTestDeleteExpectedTransformOrDecodeError(s.ctx, s.t, s, s.transformer.fail.Store)
		}},
		one{name: "DeleteExpectedDecodeError", run: func(s *store) {
			storagetesting.RunTestDeleteExpectedTransformOrDecodeError(s.ctx, s.t, s, s.codec.fail.Store)
		}},
		one{name: "DeleteWithSuggestionAndErrorUnexpected", run: func(s *store) {
			storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError(s.ctx, s.t, s)
		}},
		one{name: "GetListWithErrorAggregation", bare: true, run: func(s *store) {
			over := *s
			over.Interface = deletable(s)
			storagetesting.RunTestGetListWithErrorAggregation(s.ctx, s.t, &over, s.corrupt())
		}},
		one{name: "WatchWithUnsafeDelete", run: func(s *store) {
			storagetesting.RunTestWatchWithUnsafeDelete(s.ctx, s.t, s, s.corrupt())
		}}),
		with("", gate, false, one{name: "GetListWithoutErrorAggregation", bare: true, run: func(s *store) {
			storagetesting.RunTestGetListWithoutErrorAggregation(s.ctx, s.t, s, s.corrupt())
		}})...)
}

// lists are about ranges and statistics.
func lists() (all []one) {
	const snapshots = features.ListFromCacheSnapshot
	all = []one{
		plain("ListPaging", storagetesting.RunTestListPaging),
		plain("NamespaceScopedList", storagetesting.RunTestNamespaceScopedList),
		{name: "GetListNonRecursive", run: func(s *store) {
			storagetesting.RunTestGetListNonRecursive(s.ctx, s.t, s.write, s)
		}},
		plain("GetListRecursivePrefix", storagetesting.RunTestGetListRecursivePrefix),
		{name: "ListContinuation", run: func(s *store) {
			storagetesting.RunTestListContinuation(s.ctx, s.t, s, s.calledRightly)
		}},
		{name: "ListContinuationWithFilter", run: func(s *store) {
			storagetesting.RunTestListContinuationWithFilter(s.ctx, s.t, s, s.calledRightly)
		}},
		{name: "ListInconsistentContinuation", run: func(s *store) {
			storagetesting.RunTestListInconsistentContinuation(s.ctx, s.t, s, s.compact)
		}},
		{name: "ListResourceVersionMatch", run: func(s *store) {
			storagetesting.RunTestListResourceVersionMatch(s.ctx, s.t, s)
		}},
		{name: "Stats", run: func(s *store) {
			storagetesting.RunTestStats(s.ctx, s.t, s, s.codec, s.transformer, false)
		}},
		{name: "StatsWithSizes", run: func(s *store) {
			if err := s.EnableResourceSizeEstimation(s.keys); err != nil {
				s.t.Fatal(err)
			}
			storagetesting.RunTestStats(s.ctx, s.t, s, s.codec, s.transformer, true)
		}},
	}
	// With the gate the storage reads one key more, which would be counted.
	all = append(all, with("", snapshots, false, one{name: "ListPaginationRareObject", run: func(s *store) {
		storagetesting.RunTestListPaginationRareObject(s.ctx, s.t, s, s.calledRightly)
	}})...)
	// Only with the gate the storage looks at what others compact.
	all = append(all, with("", snapshots, true, one{name: "CompactRevision", run: func(s *store) {
		storagetesting.RunTestCompactRevision(s.ctx, s.t, s, s.write, s.compact)
	}})...)
	return append(all, streamedOrNot(
		one{name: "List", run: func(s *store) {
			storagetesting.RunTestList(s.ctx, s.t, s, s.compact, false, s.lists)
		}},
		one{name: "ConsistentList", run: func(s *store) {
			storagetesting.RunTestConsistentList(s.ctx, s.t, s, s.write, false, true, false)
		}})...)
}

// watches are about events.
func watches() []one {
	return []one{
		plain("Watch", storagetesting.RunTestWatch),
		plain("ClusterScopedWatch", storagetesting.RunTestClusterScopedWatch),
		plain("NamespaceScopedWatch", storagetesting.RunTestNamespaceScopedWatch),
		plain("DeleteTriggerWatch", storagetesting.RunTestDeleteTriggerWatch),
		{name: "WatchFromZero", run: func(s *store) {
			storagetesting.RunTestWatchFromZero(s.ctx, s.t, s, s.compact)
		}},
		plain("WatchFromNonZero", storagetesting.RunTestWatchFromNonZero),
		plain("DelayedWatchDelivery", storagetesting.RunTestDelayedWatchDelivery),
		{name: "WatchError", run: func(s *store) { storagetesting.RunTestWatchError(s.ctx, s.t, s) }},
		plain("WatchContextCancel", storagetesting.RunTestWatchContextCancel),
		plain("WatcherTimeout", storagetesting.RunTestWatcherTimeout),
		plain("WatchDeleteEventObjectHaveLatestRV", storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV),
		plain("WatchInitializationSignal", storagetesting.RunTestWatchInitializationSignal),
		{name: "ProgressNotify", run: func(s *store) {
			storagetesting.RunOptionalTestProgressNotify(s.ctx, s.t, s, s.write)
		}},
		{name: "WatchDispatchBookmarkEvents", run: func(s *store) {
			storagetesting.RunTestWatchDispatchBookmarkEvents(s.ctx, s.t, s, false)
		}},
		plain("SendInitialEventsBackwardCompatibility", storagetesting.RunSendInitialEventsBackwardCompatibility),
		{name: "WatchErrorIsBlockingFurtherEvents", run: func(s *store) {
			storagetesting.RunWatchErrorIsBlockingFurtherEvents(s.ctx, s.t, s)
		}},
	}
}

// semantics are about how a watch begins.
func semantics() []one {
	begin := plain("WatchSemantics", storagetesting.RunWatchSemantics)
	all := append(with("DecodedConcurrently", features.ConcurrentWatchObjectDecode, true, begin), begin,
		plain("WatchSemanticInitialEventsExtended", storagetesting.RunWatchSemanticInitialEventsExtended),
		plain("WatchListMatchSingle", storagetesting.RunWatchListMatchSingle))
	return streamedOrNot(all...)
}
