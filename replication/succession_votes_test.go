package replication_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestASealedPrimaryWhoseTargetDiedGoesOnByVotes: those of the others are a majority without the target. It waits for
// that one first, and says until when.
func TestASealedPrimaryWhoseTargetDiedGoesOnByVotes(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		told := make(chan error, 1)
		go func() { told <- f.sealForDying() }()
		f.fleetSays("us-1", "us", "us asks the voters to let it go on without eu, from ")
		sealed := time.Now()
		p := f.put("us-1", "c1")
		if took := time.Since(sealed); p.Epoch != 3 || took > 20*time.Second {
			f.t.Errorf("receipt %+v after %v", p, took)
		}
		err := <-told
		if !errors.Is(err, replication.ErrHandoff) || !strings.Contains(err.Error(), "region us to go on, in epoch 3") {
			f.t.Errorf("switchover told %v", err)
		}
		f.start("eu-1")
		f.eventually(values(0, 2))
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
		defer cancel()
		if r, err := f.nodes["us-1"].Switchover(ctx, "eu"); err != nil || r.Epoch != 4 {
			f.t.Errorf("switched over later: %+v, %v", r, err)
		}
	})
}
