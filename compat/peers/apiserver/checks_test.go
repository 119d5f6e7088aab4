package apiserver

import (
	"context"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// storedWell checks that the value of a key says nothing that its revision says.
func (s *store) storedWell(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	got, err := s.client.Get(ctx, s.root+key)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 1 {
		t.Fatalf("%s is not there", key)
	}
	object, err := runtime.Decode(s.codec, got.Kvs[0].Value[len(valuePrefix):])
	if err != nil {
		t.Fatal(err)
	}
	about, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	if about.GetResourceVersion() != "" || about.GetSelfLink() != "" {
		t.Errorf("%s is stored with resource version %q and link %q", key, about.GetResourceVersion(),
			about.GetSelfLink())
	}
}

// compact compacts as an API server does, and waits until the storage knows where it looks.
func (s *store) compact(ctx context.Context, t *testing.T, resourceVersion string) {
	t.Helper()
	revision, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The first try may only tell how often it was done before.
	for version, done := int64(0), int64(0); done != revision; {
		if version, _, done, err = etcd3.Compact(ctx, s.client, version, revision); err != nil {
			t.Fatal(err)
		}
	}
	if !utilfeature.DefaultFeatureGate.Enabled(features.ListFromCacheSnapshot) {
		return
	}
	for deadline := time.Now().Add(time.Minute); s.CompactRevision() != revision; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the storage thinks that %d is compacted, and not %d", s.CompactRevision(), revision)
		}
	}
}

// write makes a revision that no pod is part of.
func (s *store) write(ctx context.Context, t *testing.T) int64 {
	t.Helper()
	put, err := s.client.Put(ctx, s.root+"/another", "")
	if err != nil {
		t.Fatal(err)
	}
	return put.Header.Revision
}

// mostPage is the page that the API server asks for at most, whatever it has to skip.
const mostPage = 10000

// calledRightly checks how many objects were read since the last time, and in how many pages: each is twice the one
// before.
func (s *store) calledRightly(t *testing.T, page, objects uint64) {
	t.Helper()
	if read := s.transformer.plain.GetReadsAndReset(); read != objects {
		t.Errorf("%d objects were read instead of %d", read, objects)
	}
	want := uint64(1)
	for seen := uint64(1); page != 0 && seen < objects; want++ {
		page = min(2*page, mostPage)
		seen += page
	}
	if calls := s.calls.GetReadsAndReset() + s.calls.GetStreamReadsAndReset(); calls != want {
		t.Fatalf("%d calls instead of %d", calls, want)
	}
}

// keys lists the keys of all pods.
func (s *store) keys(ctx context.Context) (keys []string, err error) {
	got, err := s.client.Get(ctx, s.root+podsPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	for _, kv := range got.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}

// clear deletes all pods that a case left where another looks.
func (s *store) clear() {
	if _, err := s.client.Delete(context.Background(), podsPrefix, clientv3.WithPrefix()); err != nil {
		s.t.Error(err)
	}
}

// corrupt is the error by which the storage knows an object that it cannot read.
func (s *store) corrupt() error {
	failing := newTransformer()
	failing.fail.Store(true)
	_, _, err := etcd3.WithCorruptObjErrorHandlingTransformer(failing).TransformFromStorage(s.ctx, nil,
		value.DefaultContext{})
	return err
}
