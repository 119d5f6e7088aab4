package transfer

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

var errUnwanted = errors.New("unwanted")

// A copy that is of no use is refused by its description: nothing of it comes, nothing is left of it, and the part of
// another one stays.
func TestACopyOfNoUseIsRefusedBeforeItComes(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu, ap := start(t, net, "us-1"), start(t, net, "eu-1"), start(t, net, "ap-1")
		eu.begin("eu")
		large := strings.Repeat("x", 3<<20)
		eu.put(large)
		ap.begin("eu")
		broken := func(p checkpoint.Progress) {
			if p.DoneBytes > p.TotalBytes/2 {
				net.Break("us-1", "eu-1")
			}
		}
		if _, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, broken); err == nil {
			t.Fatal("the transfer did not break off")
		}
		part := us.staging.Partial()
		var offered *Description
		_, _, err := us.staging.FetchIf(t.Context(), "ap-1", Request{Region: "us"},
			func(id string, d *Description) error {
				if offered = d; !isID(id) || ap.shelf.copies[id] == nil {
					t.Errorf("copy %q is offered", id)
				}
				return errUnwanted
			}, func(p checkpoint.Progress) {
				if p.Stage == checkpoint.Coming {
					t.Error("some of it came")
				}
			})
		if !errors.Is(err, errUnwanted) || offered == nil || offered.Region != "ap" {
			t.Errorf("%+v was offered, %v", offered, err)
		}
		if got := us.staged(); len(got) != 1 || us.staging.Partial() != part {
			t.Errorf("%q are here, a part of %q", got, us.staging.Partial())
		}
		id, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", Have: part}, nil)
		if err != nil || id != part {
			t.Fatalf("copy %s, %v, want %s", id, err, part)
		}
		us.holds(id, []string{large})
	})
}

// TestNobodyGetsMoreOfACopyThatPartedFromTheHistory (T3): a region that gives way while another takes a copy gives that
// no more of it, nor when it is asked again for the rest; its own nodes, which need what is given up, get theirs.
func TestNobodyGetsMoreOfACopyThatPartedFromTheHistory(t *testing.T) {
	for _, fork := range []timeline.Position{0, 1} {
		inBubble(t, func(t *testing.T, net *memory.Network) {
			us, ap, own := start(t, net, "us-1"), start(t, net, "ap-1"), start(t, net, "us-2")
			us.begin("us")
			us.put(strings.Repeat("x", 3<<20))
			net.SetWindow(1 << 20)
			gaveWay := false
			give := func(p checkpoint.Progress) {
				if p.Stage == checkpoint.Coming && !gaveWay {
					gaveWay = true
					claim := &timeline.Reign{Epoch: 2, First: fork + 1, Primary: "eu"}
					us.control(&timeline.Control{Op: timeline.OpDiverge, Epoch: 1, Fork: fork, At: 1, Claim: claim})
				}
			}
			_, _, err := ap.staging.Fetch(t.Context(), "us-1", Request{Region: "ap"}, give)
			lost := err != nil && strings.Contains(err.Error(), contract.ErrDiverged.Error())
			if lost != (fork < 1) || !lost && err != nil {
				t.Errorf("fork at %d: it ended with %v", fork, err)
			}
			if _, _, err := own.staging.Fetch(t.Context(), "us-1", Request{Region: "us"}, nil); err != nil {
				t.Errorf("its own node: %v", err)
			}
		})
	}
}

// A copy that a region gave before it went over to another history is not what goes on with that.
func TestACopyOfAnEarlierHistoryFitsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		us.put("a", "b")
		for _, c := range []struct {
			region string
			reigns []timeline.Reign
			at     timeline.Position
			ok     bool
		}{
			{"ap", us.author.State().Reigns, 2, true},
			{"ap", us.author.State().Reigns, 3, true}, // the state is told a little later than it is copied
			{"ap", []timeline.Reign{{Epoch: 1, First: 1, Primary: "eu"}}, 2, false},
			{"us", []timeline.Reign{{Epoch: 1, First: 1, Primary: "eu"}}, 2, true},
		} {
			k := &shelved{reigns: c.reigns, position: c.at, index: 9, epoch: 1}
			if got := us.shelf.fits(k, &Request{Region: c.region}); got != c.ok {
				t.Errorf("%s, of %+v up to %d: %t", c.region, c.reigns, c.at, got)
			}
		}
	})
}
