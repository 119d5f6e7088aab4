package transfer

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// While a copy is made the region for which it is hears how far that is, and of how much; nobody else does. The node
// that takes a copy tells how far that is.
func TestHowFarACopyIsThatIsMade(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		const size = 3 << 20
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		us.begin("us")
		us.put(strings.Repeat("x", size))
		us.reading = time.Minute
		if s := eu.staging.Transfer(); s != nil {
			t.Errorf("takes %+v", s)
		}
		done := make(chan error)
		go func() {
			_, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil)
			done <- err
		}()
		ask := func() Making {
			m, err := peer.Ask(t.Context(), eu.client, "us-1", AskMaking, MakingFor{Region: "eu"})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		time.Sleep(90 * time.Second)
		first := ask()
		time.Sleep(6 * time.Minute) // what is small is read, too
		second := ask()
		if first.Total < 2*size || first.Total > 2*size+64<<10 || first.Done < size || second.Total != first.Total ||
			second.Done <= first.Done || second.Done > second.Total {
			t.Errorf("of %d bytes, written and then read: %+v, and later %+v", size, first, second)
		}
		if m := us.shelf.Making("us"); m != (Making{}) {
			t.Errorf("who asked for nothing is told %+v", m)
		}
		if s := eu.staging.Transfer(); s == nil || s.Phase != "making" || s.From != "us-1" || s.TotalBytes != nil {
			t.Errorf("takes %+v", s)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if m, s := ask(), eu.staging.Transfer(); m != (Making{}) || s != nil {
			t.Errorf("afterwards %+v, %+v", m, s)
		}
	})
}

// What is said to be gone through is what is: the files of the manifest.
func TestSizeIsOfWhatIsDescribed(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		us.put("a")
		c, err := us.take(&Request{Region: "eu"})
		if err != nil {
			t.Fatal(err)
		}
		if got := checkpoint.Size(us.shelf.config.FS, c.dir); got != c.manifest.Bytes() {
			t.Errorf("%d bytes, the manifest says %d", got, c.manifest.Bytes())
		}
		us.shelf.release(c)
	})
}
