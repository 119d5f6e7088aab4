package apiserver

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/zap"
	"google.golang.org/grpc/grpclog"
	"k8s.io/apimachinery/pkg/api/apitesting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/feature"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/utils/clock"
)

// Where the pods of the cases are, and what their values begin with.
const (
	podsPrefix  = "/pods/"
	valuePrefix = "pods:"
)

var scheme = runtime.NewScheme()

func init() {
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	for _, add := range []func(*runtime.Scheme) error{example.AddToScheme, examplev1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, os.Stderr))
}

func setGate(t *testing.T, gate featuregate.Feature, on bool) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, gate, on)
}

// store is the etcd3 storage of one case, with all that the cases look at or change.
type store struct {
	t   *testing.T
	ctx context.Context
	storage.Interface

	root        string           // what all keys begin with
	client      *clientv3.Client // unseen by the recorders
	calls       *storagetesting.KVRecorder
	lists       *storagetesting.KubernetesRecorder
	codec       *failingCodec
	transformer *changingTransformer
}

func newStore(t *testing.T, endpoints []string, root string) *store {
	t.Helper()
	// What one server could not do must not be thought of the next one.
	feature.DefaultFeatureSupportChecker = feature.NewDefaultFeatureSupportChecker()
	s := &store{
		t: t, ctx: t.Context(), root: root,
		codec: &failingCodec{
			Codec: apitesting.TestCodec(serializer.NewCodecFactory(scheme), examplev1.SchemeGroupVersion)},
		transformer: newTransformer(),
	}
	client, err := kubernetes.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	s.client = clientv3.NewCtxClient(client.Ctx())
	s.client.KV, s.client.Watcher, s.client.Lease = client.KV, client.Watcher, client.Lease
	s.lists = storagetesting.NewKubernetesRecorder(client.Kubernetes)
	s.calls = storagetesting.NewKVRecorder(client.KV, s.lists)
	client.KV, client.Kubernetes = s.calls, s.lists

	leases := etcd3.NewDefaultLeaseManagerConfig()
	leases.ReuseDurationSeconds = 1 // the cases wait for expiry half a minute at most
	compactor := etcd3.NewCompactor(client.Client, 0, clock.RealClock{}, nil)
	t.Cleanup(compactor.Stop)
	versioner := storage.APIObjectVersioner{}
	made, err := etcd3.New(client, compactor, s.codec,
		func() runtime.Object { return &example.Pod{} }, func() runtime.Object { return &example.PodList{} },
		root, podsPrefix, schema.GroupResource{Resource: "pods"}, s.transformer, leases,
		etcd3.NewDefaultDecoder(s.codec, versioner), versioner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	s.Interface = made
	if root == "" {
		t.Cleanup(s.clear)
	}
	return s
}

var errMade = errors.New("made to fail")

// failingCodec decodes nothing while it is set to fail.
type failingCodec struct {
	runtime.Codec
	fail atomic.Bool
}

func (c *failingCodec) Decode(
	data []byte, defaults *schema.GroupVersionKind, into runtime.Object,
) (runtime.Object, *schema.GroupVersionKind, error) {
	if c.fail.Load() {
		return nil, nil, errMade
	}
	return c.Codec.Decode(data, defaults, into)
}

// changingTransformer passes everything to another transformer, which can be changed, or reads nothing.
type changingTransformer struct {
	plain *storagetesting.PrefixTransformer
	now   atomic.Pointer[value.Transformer]
	fail  atomic.Bool
}

func newTransformer() *changingTransformer {
	c := &changingTransformer{plain: storagetesting.NewPrefixTransformer([]byte(valuePrefix), false)}
	c.set(c.plain)
	return c
}

func (c *changingTransformer) set(to value.Transformer) { c.now.Store(&to) }

func (c *changingTransformer) TransformFromStorage(
	ctx context.Context, data []byte, about value.Context,
) ([]byte, bool, error) {
	if c.fail.Load() {
		return nil, false, errMade
	}
	return (*c.now.Load()).TransformFromStorage(ctx, data, about)
}

func (c *changingTransformer) TransformToStorage(
	ctx context.Context, data []byte, about value.Context,
) ([]byte, error) {
	return (*c.now.Load()).TransformToStorage(ctx, data, about)
}

// UpdatePrefixTransformer implements storagetesting.InterfaceWithPrefixTransformer.
func (s *store) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) (undo func()) {
	changed := *s.transformer.plain
	return s.UpdateTransformer(func(value.Transformer) value.Transformer { return modify(&changed) })
}

// UpdateTransformer implements storagetesting.InterfaceWithTransformerOverride.
func (s *store) UpdateTransformer(modify storagetesting.TransformerModifier) (undo func()) {
	before := *s.transformer.now.Load()
	s.transformer.set(modify(before))
	return func() { s.transformer.set(before) }
}
