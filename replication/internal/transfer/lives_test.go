package transfer

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestTheStateOfAnotherLifeIsNotTaken: who formed the region anew by itself is still known where the member was, may be
// further, and answers first.
func TestTheStateOfAnotherLifeIsNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, c := start(t, net, "us-1"), start(t, net, "us-2"), start(t, net, "us-3")
		a.others = []string{"us-2", "us-3"}
		a.formed = map[uint64]string{1: "a", 2: "b", 3: "c"}
		b.formed = map[uint64]string{2: "x"}
		for _, n := range []*node{b, c} {
			n.begin("us")
		}
		b.put("anew")
		b.put("further")
		c.put("theirs")
		for _, c.formed = range []map[uint64]string{a.formed, nil} { // or it is of a version that does not say
			for _, fetch := range []func() (string, error){
				func() (string, error) { return a.staging.FetchSibling(t.Context(), 1) },
				func() (string, error) { return a.staging.FetchOwn(1) },
			} {
				id, err := fetch()
				if err != nil {
					t.Fatal(err)
				}
				a.holds(id, []string{"theirs"})
				a.staging.Discard(id)
			}
		}
		a.others = []string{"us-2"}
		if _, err := a.staging.FetchSibling(t.Context(), 1); err == nil ||
			!strings.Contains(err.Error(), "another life") {
			t.Errorf("took it: %v", err)
		}
	})
}
