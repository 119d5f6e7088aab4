package mirror_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// An endpoint with another history, as a fleet that was begun anew under its name, or a node that formed its region
// anew by itself, changes nothing, although it has come further than the etcd.
func TestAnEndpointOfAnotherHistoryIsNotBelieved(t *testing.T) {
	for what, breakOff := range map[string]bool{"it goes on": false, "a comparison was broken off": true} {
		t.Run(what, func(t *testing.T) { anotherHistory(t, breakOff) })
	}
}

func anotherHistory(t *testing.T, breakOff bool) {
	w := newWorld(t)
	w.put("k0", "first")
	end := w.begin()
	w.settled()
	for range 3 {
		w.put("k1", "true")
	}
	w.equal()
	w.stop(end)
	if breakOff {
		w.changePlace(`"run"`, `"comparing":true,"run"`)
	}
	anew := etcdapitest.StartPlain(t)
	for range 20 {
		if _, err := clientOf(t, anew.Endpoint).Put(t.Context(), "k1", "anew"); err != nil {
			t.Fatal(err)
		}
	}
	fleet, first := w.options.From, true
	w.options.From = func(ctx context.Context) (*grpc.ClientConn, error) {
		if first {
			first = false
			return dial(anew.Endpoint)(ctx)
		}
		return fleet(ctx)
	}
	var taken atomic.Int64
	w.toEtcd(func(_ string, request any, call func() error) error {
		if strings.Contains(fmt.Sprint(request), `"anew"`) {
			taken.Add(1)
		}
		return call()
	})
	end = w.begin()
	w.await("it was asked", func() bool { return w.told("another history") || taken.Load() > 0 })
	w.put("k1", "newer")
	w.settled()
	w.stop(end)
	if taken.Load() > 0 {
		t.Errorf("%d of its values were put; trouble: %q", taken.Load(), w.trouble)
	}
}
