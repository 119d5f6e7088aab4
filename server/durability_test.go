package server

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
)

func TestDurabilityOfPrefixesIsRead(t *testing.T) {
	got, err := parsePrefixes("/payments/=regions=1, /a=b/=quorum,/log =local,/x=regions=all")
	want := map[string]string{"/payments/": "regions=1", "/a=b/": "quorum", "/log ": "local", "/x": "regions=all"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"/payments/", "=all", "=regions=1", "/a=all,/a=local"} {
		if got, err := parsePrefixes(text); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestAWrongDurabilityIsRefused(t *testing.T) {
	for text, d := range map[string]Durability{
		"durability.default":                   {Default: "most"},
		"durability.prefixes: \"/a\"":          {Default: "local", Prefixes: map[string]string{"/a": "regions=0"}},
		"all keys begin with the empty prefix": {Default: "local", Prefixes: map[string]string{"": "all"}},
	} {
		if _, err := d.rules(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDurabilityIsReadAnew while the node runs, prefixes that are there no more too, and what comes of writes is
// counted.
func TestDurabilityIsReadAnew(t *testing.T) {
	c := testConfig(t, "solo")
	var next atomic.Pointer[Durability]
	told := make(chan struct{})
	runNodeWith(t, c, Options{HungUp: told, Reload: func() (*Config, error) {
		read := *c
		read.Durability = *next.Load()
		return &read, nil
	}})
	etcd := etcdClient(t, c, TLS{})
	put := func(said string, want codes.Code) {
		t.Helper()
		eventually(t, fmt.Sprintf("%q: %v", said, want), func(ctx context.Context) bool {
			if said != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, etcdapi.DurabilityKey, said)
			}
			_, err := pb.NewKVClient(etcd.ActiveConnection()).Put(ctx, &pb.PutRequest{Key: []byte("/pay/1")})
			return status.Code(err) == want
		})
	}
	put("", codes.OK)
	put("regions=1", codes.FailedPrecondition)
	put("all", codes.OK) // of one region
	for _, d := range []struct {
		Durability
		want codes.Code
	}{
		{Durability{Default: "local", Prefixes: map[string]string{"/pay/": "regions=1"}, Timeout: time.Second},
			codes.FailedPrecondition},
		{Durability{Default: "regions=1", Prefixes: map[string]string{"/pay/": "local"}, Timeout: time.Second},
			codes.OK},
		{Durability{Default: "regions=2", Timeout: time.Second}, codes.FailedPrecondition},
		{Durability{Default: "quorum", Timeout: time.Second}, codes.OK},
	} {
		next.Store(&d.Durability)
		told <- struct{}{}
		put("", d.want)
	}
	page, err := getHTTP(c.ClientURL()+"/metrics", nil)
	for _, series := range []string{
		`mimir_durable_writes_total{durability="all",outcome="had"} 1`,
		`mimir_durable_writes_total{durability="regions",outcome="refused"}`,
		`mimir_durable_write_seconds_count{durability="all"} 1`,
	} {
		if err != nil || !strings.Contains(page, "\n"+series) {
			t.Errorf("no %s, %v", series, err)
		}
	}
}
