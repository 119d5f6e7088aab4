package replication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// inTenure returns the node that takes the fleet's writes, once there is one among these.
func (f *testFleet) inTenure(names ...string) (string, replication.Tenure) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, name := range names {
			if t := f.nodes[name].Tenure(); t != (replication.Tenure{}) {
				return name, t
			}
		}
	}
	f.t.Fatal("no node takes writes")
	return "", replication.Tenure{}
}

// A leader that is cut off decides and answers nothing that its successor would not know of: what it decided in its
// tenure is never carried out, by it or another, and it gives no answer before it has heard who leads.
func TestWhatADeposedLeaderDecidesIsVoid(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-2", "c0")
		old, tenure := f.inTenure(f.regions["us"]...)
		within := func(t replication.Tenure, value string) error {
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
			defer cancel()
			commands := []*replication.Command{{Data: []byte(value)}}
			_, err := f.nodes[old].Propose(ctx, commands, replication.WithinTenure(t))
			return err
		}
		if err := within(tenure, "c1"); err != nil {
			f.t.Fatal(err)
		}
		var others []string
		for _, name := range f.regions["us"] {
			if name != old {
				others = append(others, name)
			}
		}
		f.network.Isolate(old)
		decided, answered := make(chan error, 1), make(chan string, 1)
		go func() { decided <- within(tenure, "void") }()
		go func() {
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
			defer cancel()
			by, err := f.nodes[old].Ask(ctx, nil)
			if err != nil {
				f.t.Error(err)
			}
			answered <- string(by)
		}()
		next, later := f.inTenure(others...)
		if later.Term <= tenure.Term {
			f.t.Errorf("tenure %+v after %+v", later, tenure)
		}
		f.put(next, "c2")
		time.Sleep(5 * time.Second)
		if len(answered) > 0 {
			f.t.Errorf("%s answered, which is cut off", <-answered)
		}
		f.network.HealAll()
		if by := <-answered; by != next {
			f.t.Errorf("%s answered, %s leads", by, next)
		}
		if err := <-decided; !errors.Is(err, replication.ErrNotLeader) {
			f.t.Errorf("decided by the deposed leader: %v", err)
		}
		if err := within(tenure, "void"); !errors.Is(err, replication.ErrNotLeader) {
			f.t.Errorf("in a tenure of the past: %v", err)
		}
		f.put(old, "c3")
		f.eventually(values(0, 4))
	})
}
