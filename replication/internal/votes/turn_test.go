package votes

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// TestNoCharterIsOrderedWhileThePrimaryMoves: neither who votes nor that the primary stays; and nothing is written
// beside its seal. Who moves it sees what is ordered, and what is on its way.
func TestNoCharterIsOrderedWhileThePrimaryMoves(t *testing.T) {
	rule(t, nil, func(t *testing.T, r *ruled) {
		o := Orders{r.v}
		hold := func() error { _, err := o.stay(t.Context(), holdOrder{time.Minute}); return err }
		more := Change{Witness: "w2", Addrs: []string{"w2"}}
		change := func() error { _, err := o.change(t.Context(), more); return err }
		pause := func() error { _, err := o.pause(t.Context(), pauseOrder{"an upgrade"}); return err }
		refused := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, contract.ErrNotReady) || !strings.Contains(err.Error(), "moved to region eu") {
				t.Errorf("%s: %v", what, err)
			}
			if order, writes := Changing(r.v); order != "" || writes {
				t.Errorf("%s: and still %q, on its way: %t", what, order, writes)
			}
		}
		r.to = "eu"
		refused("a hold", hold())
		refused("a change", change())
		if err := pause(); err != nil || r.writes != 1 {
			t.Errorf("a pause before the seal: %v, %d charters are written", err, r.writes)
		}
		r.sealing = true
		refused("a pause beside the seal", pause())
		r.to, r.sealing = "", false
		for what, order := range map[string]func() error{"votes": change, "a hold": hold, "": pause} {
			told, writes := "", false
			r.at, r.before = r.writes+1, func() { told, writes = Changing(r.v) }
			if err := order(); err != nil || !strings.Contains(told, what) || (told == "") != (what == "") || !writes {
				t.Errorf("%q: %v; a move is told of %q, on its way: %t", what, err, told, writes)
			}
			if told, writes = Changing(r.v); told != "" || writes {
				t.Errorf("%q: afterwards a move is told of %q, on its way: %t", what, told, writes)
			}
			if _, err := o.release(t.Context()); what == "a hold" && err != nil {
				t.Error(err)
			}
		}
	})
}
