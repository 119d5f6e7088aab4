package replication_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// surfaces are all objects of the surface whose methods an embedder can call.
func surfaces(r *replication.MultiRegionReplicator, alone *replication.RaftReplicator) []any {
	return []any{r, r.Voting(), replication.HistoryOf(r), alone}
}

// callAll calls every method of o, but for those that end the node, with zero values and this context. No method may
// panic; one that takes a context that cannot serve has to say so.
func callAll(t *testing.T, when string, o any, ctx context.Context, mustFail bool) {
	t.Helper()
	v := reflect.ValueOf(o)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if name != "Shutdown" && name != "SetTransport" && (name != "Start" || mustFail) {
			callOne(t, fmt.Sprintf("%s: %T.%s", when, o, name), v.Method(i), ctx, mustFail)
		}
	}
}

func callOne(t *testing.T, what string, m reflect.Value, ctx context.Context, mustFail bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s panics: %v", what, p)
		}
	}()
	var in []reflect.Value
	takes := false
	for j := range m.Type().NumIn() {
		of := m.Type().In(j)
		switch {
		case m.Type().IsVariadic() && j == m.Type().NumIn()-1:
		case of == contextType && ctx != nil:
			in = append(in, reflect.ValueOf(ctx))
			takes = true
		default:
			in, takes = append(in, reflect.Zero(of)), takes || of == contextType
		}
	}
	out := m.Call(in)
	if n := len(out); takes && mustFail && n > 0 && out[n-1].Type() == errorType && out[n-1].IsNil() {
		t.Errorf("%s gives no error", what)
	}
}

// Whatever the surface offers, now and later, takes nothing, zero values, contexts that are nil or have ended, and
// every moment of a node's life.
func TestNothingOfTheSurfacePanics(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(clock.Real, 1)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		own := alone()
		own.CommandLevel = func([]byte) timeline.Level { return timeline.LevelNow }
		own.OnAsk = func(context.Context, []byte) ([]byte, error) { return nil, nil }
		r, err := replication.NewMultiRegionReplicator(own, &ledger{})
		if err != nil {
			t.Fatal(err)
		}
		c := alone()
		c.NodeID, c.PeerAddr, c.Nodes = "ap-1", "ap-1", map[string]string{"ap-1": "ap-1"}
		single, err := replication.NewRaftReplicator(c, &ledger{})
		if err != nil {
			t.Fatal(err)
		}
		everywhere := func(when string, mayServe bool) {
			for _, o := range surfaces(r, single) {
				callAll(t, when+", no context", o, nil, true)
				callAll(t, when+", ended context", o, ended, true)
				if mayServe {
					short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					callAll(t, when, o, short, false)
					cancel()
				} else {
					callAll(t, when, o, t.Context(), true)
				}
			}
		}
		everywhere("without a transport", false)
		r.SetTransport(network.Node("us-1"))
		single.SetTransport(network.Node("ap-1"))
		if err := errors.Join(r.Start(t.Context()), single.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.WaitForLeader(t.Context()), single.WaitForLeader(t.Context())); err != nil {
			t.Fatal(err)
		}
		everywhere("ready", true)
		if err := errors.Join(r.Shutdown(), single.Shutdown(), r.Shutdown(), single.Shutdown()); err != nil {
			t.Error(err)
		}
		everywhere("after Shutdown", false)
	})
}

func TestFunctionsOfTheSurfaceTakeNothing(t *testing.T) {
	fill := func(func(replication.Seed) (*replication.Metadata, error)) error { return nil }
	if err := replication.Sow(nil, fill); !errors.Is(err, replication.ErrConfig) {
		t.Errorf("sown without a configuration: %v", err)
	}
	if err := replication.Sow(alone(), nil); !errors.Is(err, replication.ErrArgument) {
		t.Errorf("sown with nothing: %v", err)
	}
	var none *replication.Config
	if err := none.CheckDirectory(); !errors.Is(err, replication.ErrConfig) {
		t.Errorf("the directory of nobody: %v", err)
	}
	if s, err := replication.SeedOf(nil); err != nil || s != (replication.Seed{}) {
		t.Errorf("the seed of nothing: %v, %v", s, err)
	}
	callAll(t, "history of nobody", replication.HistoryOf(nil), nil, false)
}
