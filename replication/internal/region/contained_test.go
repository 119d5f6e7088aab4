package region

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

// TestAStateThatIsContainedIsPassedOver: a node that took the state of another for an install is ahead of its Raft
// group, which may still bring a state from in between. The node keeps what it has, and goes on.
func TestAStateThatIsContainedIsPassedOver(t *testing.T) {
	s, disk := newScript(t), vfs.NewCrashableMem()
	w := ways[2]
	p := running(t, s, disk, pebblefs.New(disk), w, kinds[0].open)
	s.ownCopy(t, p.fs, "/between")
	p.give = func(uint64) (string, error) { return "own", nil }
	further := enginetest.Volatile()
	q := newPlace(t, "us", p.fs, further, further).load()
	if _, _, _, err := q.Install("/between"); err != nil {
		t.Fatal(err)
	}
	q.log.last = 6
	q.apply(nil, nil)
	q.copyHere("/staging/further")
	p.staged["own"] = "/staging/further"
	if err := w.enter(p, s); err != nil {
		t.Fatal(err)
	}
	base := p.log.base()
	index, term, conf, err := p.Install("/between")
	if err != nil || index != 6 || term != 1 || conf == nil {
		t.Fatalf("entry %d of term %d, %v", index, term, err)
	}
	if _, _, _, err := p.Install("/between"); !errors.Is(err, contract.ErrIdentity) {
		t.Errorf("once more, when it is of the past: %v", err)
	}
	p.check()
	if p.index != 8 || p.log.base() != base || p.passed != 1 {
		t.Errorf("entry %d, the log begins behind %+v, passed over %d times", p.index, p.log.base(), p.passed)
	}
	p.log.last = 6
	p.apply(nil, nil, nil)
	if p.index != 9 || !slices.Equal(p.commands(), later) {
		t.Errorf("entry %d, commands %q", p.index, p.commands())
	}
}
