package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// record is a Lease in memory, which one candidate cannot renew for a while.
type record struct {
	mu   sync.Mutex
	held *resourcelock.LeaderElectionRecord
	deaf string // whose renewals fail
}

func (r *record) hear(deaf string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = deaf
}

func (r *record) holder() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		return ""
	}
	return r.held.HolderIdentity
}

// lock is a record as a candidate sees it.
type lock struct {
	*record
	name string
}

func (l lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		return nil, nil, apierrors.NewNotFound(coordination.Resource("leases"), "judge")
	}
	held := *l.held
	text, err := json.Marshal(held)
	return &held, text, err
}

func (l lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, r)
}

// Update answers who gives the Lease up long after that is done, as a server may.
func (l lock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	if r.HolderIdentity != "" && l.deaf == l.name {
		l.mu.Unlock()
		return errors.New("nobody answers")
	}
	l.held = &r
	l.mu.Unlock()
	if r.HolderIdentity == "" {
		time.Sleep(2 * leaseDuration)
	}
	return nil
}

func (lock) RecordEvent(string) {}
func (l lock) Identity() string { return l.name }
func (l lock) Describe() string { return l.name }

// One who cannot renew the Lease for so long that another one is elected leads no more by then, however late he is
// answered.
func TestNobodyIsElectedWhileAnotherLeads(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		traffic := &traffic{book: newBook()}
		lease := &record{}
		ctx, cancel := context.WithCancel(t.Context())
		leaders := &atomic.Int64{}
		for _, name := range []string{"ann", "bob"} {
			if err := traffic.campaign(ctx, lock{lease, name}, leaders); err != nil {
				t.Fatal(err)
			}
		}
		for range 6 {
			time.Sleep(2 * leaseDuration)
			before := lease.holder()
			lease.hear(before)
			time.Sleep(4 * leaseDuration)
			if after := lease.holder(); before == "" || after == "" || after == before {
				t.Fatalf("%q could not renew the Lease, and it is %q's", before, after)
			}
			lease.hear("")
		}
		cancel()
		traffic.clients.Wait()
		virtual.Wait()
		if traffic.done["elected"] < 7 || len(traffic.problems) > 0 || leaders.Load() != 0 {
			t.Errorf("elected %d times, %q, and %d lead in the end", traffic.done["elected"], traffic.problems,
				leaders.Load())
		}
	})
}
