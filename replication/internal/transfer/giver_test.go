package transfer

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestWhoGaveACopyCanBeAskedFor (T6): a copy says who gave it, and any node of that region whether he is known to
// differ.
func TestWhoGaveACopyCanBeAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, other, eu := start(t, net, "us-1"), start(t, net, "us-2"), start(t, net, "eu-1")
		us.shelf.config.Self = 7
		us.begin("us")
		us.put("a")
		id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if giver := eu.staging.GiverOf(id); giver != 7 {
			t.Errorf("given by %d", giver)
		}
		for _, wrong := range []string{"", "../" + id, strings.Repeat("0", len(id))} {
			if giver := eu.staging.GiverOf(wrong); giver != 0 {
				t.Errorf("%q is given by %d", wrong, giver)
			}
		}
		ask := func(node uint64) bool {
			t.Helper()
			f, err := peer.Ask(t.Context(), eu.client, "us-2", AskGiver, Giver{Region: "eu", Node: node})
			if err != nil {
				t.Fatal(err)
			}
			return f.Differs
		}
		if ask(7) {
			t.Error("it differs before anything is known")
		}
		other.shelf.config.Differs = func(node uint64) bool { return node == 7 }
		if !ask(7) || ask(8) {
			t.Error("what is known is not told")
		}
	})
}
