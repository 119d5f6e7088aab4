package replication_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// kinds are all errors that callers tell apart, by name.
var kinds = map[string]error{
	"ErrNotLeader": replication.ErrNotLeader, "ErrNotReady": replication.ErrNotReady,
	"ErrClosed": replication.ErrClosed, "ErrUnknownOutcome": replication.ErrUnknownOutcome,
	"ErrRejected": replication.ErrRejected, "ErrLagging": replication.ErrLagging,
	"ErrUnderReplicated": replication.ErrUnderReplicated, "ErrTooLarge": replication.ErrTooLarge,
	"ErrVolatile": replication.ErrVolatile, "ErrStopped": replication.ErrStopped,
	"ErrIdentity": replication.ErrIdentity, "ErrDiskLost": replication.ErrDiskLost,
	"ErrDamaged": replication.ErrDamaged, "ErrNewer": replication.ErrNewer,
	"ErrUnknownRegion": replication.ErrUnknownRegion, "ErrHandoff": replication.ErrHandoff,
	"ErrAlreadyPrimary": replication.ErrAlreadyPrimary, "ErrNeedsForce": replication.ErrNeedsForce,
	"ErrDiverged": replication.ErrDiverged, "ErrAlreadyBegun": replication.ErrAlreadyBegun,
	"ErrArgument": replication.ErrArgument, "ErrConfig": replication.ErrConfig, "ErrMember": replication.ErrMember,
	"ErrLearnerBehind": replication.ErrLearnerBehind, "ErrUnhealthy": replication.ErrUnhealthy,
	"ErrRemoved": replication.ErrRemoved, "ErrOldNode": replication.ErrOldNode,
	"ErrDelayed": replication.ErrDelayed, "ErrMessage": replication.ErrMessage,
}

func TestEveryKindIsListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "contract/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok {
			names = append(names, s.Names[0].Name)
		}
		return true
	})
	slices.Sort(names)
	if listed := slices.Sorted(maps.Keys(kinds)); !slices.Equal(names, listed) {
		t.Errorf("there are %q, and listed are %q", names, listed)
	}
}

// errOfAnother is what another call of the same caller ended with.
var errOfAnother = errors.New("of another call")

// wellFormed are arguments, behind the context, of methods that would not come to wait with zero values.
func wellFormed(node string) map[string][]any {
	return map[string][]any{
		"Propose":     {[]*replication.Command{{Data: []byte("x")}}},
		"ReadBarrier": {replication.Linearizable}, "WaitPosition": {replication.Position(1 << 40)},
		"ReadWithin": {time.Nanosecond}, "AskNode": {node, []byte("x")},
		"Switchover": {"eu"}, "Failover": {"us", true}, "FailoverWithin": {"us", uint64(1)}, "Found": {"us"},
		"FailoverAt": {"us", replication.Point{}}, "AddMember": {"us-9", "us-9", true},
		"RemoveMember": {replication.MemberID("us", "us-2")}, "PromoteMember": {replication.MemberID("us", "us-2")},
		"UpdateMember":   {replication.MemberID("us", "us-2"), "us-7"},
		"TransferLeader": {replication.MemberID("us", "us-2")},
		"Enable":         {replication.DefaultVotes()}, "Recover": {"us"}, "RecoverAt": {"us", replication.Point{}},
	}
}

// failures calls every method of o that takes a context, each with one of its own, and returns their errors by name.
func failures(o any, with map[string][]any, begin func() (context.Context, func())) map[string]error {
	list := map[string]error{}
	v := reflect.ValueOf(o)
	for i := range v.NumMethod() {
		name, m := v.Type().Method(i).Name, v.Method(i)
		n := m.Type().NumOut()
		if name == "Start" || m.Type().NumIn() == 0 || m.Type().In(0) != contextType || n == 0 ||
			m.Type().Out(n-1) != errorType {
			continue
		}
		ctx, end := begin()
		in := []reflect.Value{reflect.ValueOf(ctx)}
		for j := 1; j < m.Type().NumIn(); j++ {
			switch given := with[name]; {
			case m.Type().IsVariadic() && j == m.Type().NumIn()-1:
			case j <= len(given):
				in = append(in, reflect.ValueOf(given[j-1]))
			default:
				in = append(in, reflect.Zero(m.Type().In(j)))
			}
		}
		list[name], _ = m.Call(in)[n-1].Interface().(error)
		end()
	}
	return list
}

// What ended the context of a caller may be the error of another call, as with an errgroup. It says nothing of this
// one, whatever its kind is, and wherever this one was when it ended.
func TestTheCauseOfAContextIsNoKindOfAnError(t *testing.T) {
	hold := func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	shape := func(c *replication.Config) { c.OnAsk, c.OnAskNode = hold, hold }
	shaped(t, map[string]int{"us": 3, "eu": 1}, shape, func(f *testFleet) {
		f.put("us-1", "c0")
		leader := f.nodes["us-1"].Health().LeaderID
		for name, kind := range kinds {
			ended, end := context.WithCancelCause(f.t.Context())
			end(fmt.Errorf("%w: %w", errOfAnother, kind))
			for call, err := range callsOf(f.nodes[leader], leader, func() (context.Context, func()) {
				return ended, func() {}
			}) {
				if !errors.Is(err, replication.ErrNotReady) || !errors.Is(err, context.Canceled) ||
					kind != replication.ErrNotReady && errors.Is(err, kind) {
					t.Errorf("%s after %s: %v", call, name, err)
				}
			}
		}
		for _, n := range f.names() {
			f.network.Isolate(n)
		}
		whole := errors.Join(slices.Collect(maps.Values(kinds))...)
		soon := func() (context.Context, func()) {
			ctx, end := context.WithCancelCause(f.t.Context())
			timer := time.AfterFunc(time.Second, func() { end(fmt.Errorf("%w: %w", errOfAnother, whole)) })
			return ctx, func() { timer.Stop() }
		}
		ctx, _ := soon()
		_, err := f.nodes[leader].Propose(ctx, []*replication.Command{{Data: []byte("c1")}})
		if !errors.Is(err, replication.ErrUnknownOutcome) || errors.Is(err, replication.ErrNotReady) {
			t.Errorf("a write that its leader took: %v", err)
		}
		for _, name := range f.names() {
			list := callsOf(f.nodes[name], name, soon)
			for call, err := range list {
				if errors.Is(err, errOfAnother) {
					t.Errorf("%s at %s: %v", call, name, err)
				}
			}
			if err := list["Propose"]; errors.Is(err, replication.ErrNotReady) ==
				errors.Is(err, replication.ErrUnknownOutcome) || errors.Is(err, replication.ErrUnderReplicated) {
				t.Errorf("a write at %s: %v", name, err)
			}
		}
		f.network.HealAll()
	})
}

func callsOf(n *testNode, name string, begin func() (context.Context, func())) map[string]error {
	list := failures(n.MultiRegionReplicator, wellFormed(name), begin)
	maps.Copy(list, failures(n.Voting(), wellFormed(name), begin))
	regions := map[string][]any{
		"Add":    {replication.RegionAddition{Region: "ap", Peers: []string{"ap-1"}}},
		"Remove": {replication.RegionRemoval{Region: "eu"}}, "Follow": {replication.RegionSourcing{Region: "eu"}},
	}
	for call, err := range failures(n.Topology(), regions, begin) {
		list["Topology."+call] = err
	}
	return list
}
