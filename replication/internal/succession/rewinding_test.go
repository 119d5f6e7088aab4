package succession

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// The word of each source is waited for, and for none of them for ever: also when another one claims to be primary
// after the time of the one before is over.
func TestEachSourceIsAwaited(t *testing.T) {
	m := New("us", false, testLimits)
	m.view = View{Rewinds: true, State: &timeline.State{Diverged: &timeline.Divergence{At: 3}}}
	for _, step := range []struct {
		at     time.Duration
		source string
		want   bool
	}{
		{time.Second, "eu", true}, {testLimits.CatchUp, "eu", true}, {time.Second + testLimits.CatchUp, "eu", false},
		{2*time.Second + testLimits.CatchUp, "ap", true}, {time.Second + 2*testLimits.CatchUp, "ap", true},
		{2*time.Second + 2*testLimits.CatchUp, "ap", false}, {time.Hour, "ap", false},
	} {
		m.now = step.at
		if got := m.back.awaits(m, step.source); got != step.want {
			t.Errorf("at %v %s is awaited: %t", step.at, step.source, got)
		}
	}
}
