package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// entitlements are all services and questions of a node of us, with who has them: a witness, a node that was removed
// from us, a node of a region that nobody knows, one of a region that was removed, one of another region of the fleet,
// and a member of us.
const entitlements = `
service call/1              witness removed unknown former fleet member
service copy/1                                             fleet member
service copy/2                                             fleet member
service propose/1                                          fleet member
service propose/2                                          fleet member
service propose/3                                          fleet member
service raft.snapshot/1             removed                      member
service raft.snapshot/2             removed                      member
service raft/1                      removed                      member
service stream/1                                           fleet member
service stream/2                                           fleet member
question ack                                                     member
question ack-through                                       fleet member
question ask                                               fleet member
question begin                                             fleet member
question chain                                             fleet member
question copying                                           fleet member
question failover                                          fleet member
question failover at                                       fleet member
question form                                              fleet member
question giver                                             fleet member
question held                                                    member
question making                                            fleet member
question members                                                 member
question move                                              fleet member
question node                                              fleet member
question position                                          fleet member
question present                    removed                      member
question publish                                                 member
question recall             witness removed unknown former fleet member
question refuse                                            fleet member
question report             witness removed unknown former fleet member
question rewind                                                  member
question roster-add                                        fleet member
question roster-remove                                     fleet member
question roster-source                                     fleet member
question settled                                           fleet member
question show all                                          fleet member
question stage                                                   member
question tails                                                   member
question take back                                         fleet member
question vote                                              fleet member
question vote-change                                       fleet member
question vote-enable                                       fleet member
question vote-enrol                                        fleet member
question vote-hold                                         fleet member
question vote-pause                                        fleet member
question vote-policy                                       fleet member
question vote-recover                                      fleet member
question vote-recover-at                                   fleet member
question vote-renew                                        fleet member
question vote-sound                                        fleet member
`

// TestWhoIsEntitledToWhat: of everything that a node offers. What is new has to be put here.
func TestWhoIsEntitledToWhat(t *testing.T) {
	network := memory.NewNetwork(clock.Real, 1)
	n, err := newNode(&Config{
		NodeID: "us-1", RegionID: "us", DataDir: "/data", FS: pebblefs.New(vfs.NewMem()), PeerAddr: "us-1",
		Nodes: map[string]string{"us-1": "us-1"}, Regions: map[string][]string{"eu": {"eu-1"}}, InitialPrimary: "us",
		Logger: slog.New(slog.DiscardHandler),
	}, enginetest.Volatile(), ModeMultiRegion)
	if err != nil {
		t.Fatal(err)
	}
	n.setTransport(network.Node("us-1"))
	if err := n.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.shutdown(); err != nil {
			t.Error(err)
		}
	}()
	door := peer.NewDoor(peer.DoorConfig{
		Region: "us", Removed: func(node string) bool { return node == "us-9" },
		Bars: func(region string) error {
			if region != "eu" {
				return errors.New("it is not one of the fleet")
			}
			return nil
		},
	})
	questions := questionsOf(n, door)
	rights := map[string]peer.Right{}
	for name, o := range offersOf(n, questions) {
		rights["service "+name] = o.right
	}
	for name, right := range questions.Rights() {
		rights["question "+name] = right
	}
	var table strings.Builder
	for _, name := range slices.SortedFunc(maps.Keys(rights), func(a, b string) int {
		return cmp.Or(-strings.Compare(a[:1], b[:1]), strings.Compare(a, b))
	}) {
		row := fmt.Sprintf("%-27s %s", name, entitled(t, door, rights[name]))
		fmt.Fprintln(&table, strings.TrimRight(row, " "))
	}
	if got := strings.TrimSpace(table.String()); got != strings.TrimSpace(entitlements) {
		t.Errorf("who is entitled to what is\n%s", got)
	}
}

// entitled returns who has a right by a door.
func entitled(t *testing.T, door *peer.Door, right peer.Right) string {
	var list []string
	for _, c := range []struct{ kind, region, node string }{
		{"witness", "witness", "w1"}, {"removed", "us", "us-9"}, {"unknown", "xx", "xx-1"}, {"former", "ap", "ap-1"},
		{"fleet", "eu", "eu-1"}, {"member", "us", "us-2"},
	} {
		ctx := transport.WithCaller(t.Context(), transport.Caller{Region: c.region, Node: c.node})
		err := door.Guard("x", right, func(context.Context, transport.Stream) error { return nil })(ctx, nil)
		if err != nil {
			c.kind = strings.Repeat(" ", len(c.kind))
		}
		list = append(list, c.kind)
	}
	return strings.Join(list, " ")
}

// TestRefusalsAreToldNowAndThen: whoever is refused again and again does not fill the log, and neither does his name.
func TestRefusalsAreToldNowAndThen(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := refusals{clock: clock.Real, logger: slog.New(slog.NewTextHandler(&log, nil))}
		c := transport.Caller{Region: "xx", Node: strings.Repeat("x", 1000)}
		for range 25 {
			r.tell(c, "stream/2", errors.New("it is none of the fleet"))
			time.Sleep(time.Second)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[2], "more=9") || len(log.String()) > 3*400 ||
			!strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "it is none of the fleet") {
			t.Errorf("the log has %d lines:\n%s", len(lines), log.String())
		}
	})
}
