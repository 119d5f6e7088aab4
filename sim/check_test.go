package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// noted gathers what a checker finds wrong.
type noted []string

func (n *noted) wrong(invariant, format string, args ...any) {
	*n = append(*n, invariant+": "+fmt.Sprintf(format, args...))
}

func (n *noted) want(t *testing.T, invariants ...string) {
	t.Helper()
	var got []string
	for _, s := range *n {
		i, _, _ := strings.Cut(s, ":")
		got = append(got, i)
	}
	if !slices.Equal(got, invariants) {
		t.Errorf("found wrong: %q, want of %v", *n, invariants)
	}
}

// story is a lineage in which us wrote a, b and c in epoch 1, and eu took over after b by force and wrote d.
func story(n *noted) (l *lineage, lost, end *place) {
	l = newLineage(n.wrong)
	first := replication.Reign{Epoch: 1, First: 1, Primary: "us"}
	p := l.begin(l.genesis, first, "us", "us-1", false)
	p = l.command(p, "a", "us", "us-1")
	p = l.command(p, "b", "us", "us-1")
	lost = l.command(p, "c", "us", "us-1")
	forced := replication.Reign{Epoch: 2, First: 3, Primary: "eu", Lossy: true, Previous: p.chain}
	p = l.begin(p, forced, "eu", "eu-1", false)
	return l, lost, l.command(p, "d", "eu", "eu-1")
}

// rescue is the tail that us keeps in the story.
func rescue(l *lineage, commands ...tailCommand) tail {
	t := tail{commands: commands}
	t.info.Name, t.info.Fork, t.info.Last, t.info.Claim = "tail", 2, 3, l.reigns[2][0]
	t.info.Commands = uint64(len(commands))
	return t
}

func TestWritesAreAccountedFor(t *testing.T) {
	write := func(data string, e replication.Epoch, p replication.Position, o outcome) operation {
		return operation{node: "us-1", values: []string{data}, epoch: e, position: p, outcome: o}
	}
	c := tailCommand{1, 3, "c"}
	for _, test := range []struct {
		name  string
		tails []tailCommand
		did   operation
		want  []string
	}{
		{"in the history", []tailCommand{c}, write("a", 1, 1, acknowledged), nil},
		{"in the tail", []tailCommand{c}, write("c", 1, 3, acknowledged), nil},
		{"nowhere", []tailCommand{c}, write("e", 1, 4, acknowledged), []string{"1"}},
		{"lost", nil, write("c", 1, 3, acknowledged), []string{"1", "8"}},
		{"elsewhere", []tailCommand{c}, write("a", 1, 2, acknowledged), []string{"5"}},
		{"refused and there", []tailCommand{c}, write("a", 0, 0, refused), []string{"1"}},
		{"unknown and there", []tailCommand{c}, write("a", 0, 0, unknown), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n noted
			l, _, end := story(&n)
			e := &evidence{
				plan: &plan{regions: []string{"us", "eu"}}, fleet: &fleet{lineage: l},
				operations: &operations{list: []operation{test.did}},
				final:      []final{{node: "us-1", region: "us", at: end, tails: []tail{rescue(l, test.tails...)}}},
			}
			rescued := rescuedValues(e.final)
			e.checkWrites(end, rescued, n.wrong)
			checkEverApplied(l, end, rescued, n.wrong)
			n.want(t, test.want...)
		})
	}
}

func TestTailsBeginAtTheFork(t *testing.T) {
	for _, test := range []struct {
		name     string
		fork     replication.Position
		commands []tailCommand
		want     []string
	}{
		{"exactly", 2, []tailCommand{{1, 3, "c"}}, nil},
		{"too early", 1, []tailCommand{{1, 2, "b"}, {1, 3, "c"}}, []string{"9"}},
		{"too short", 1, []tailCommand{{1, 3, "c"}}, []string{"8"}},
		{"another place", 2, []tailCommand{{1, 4, "c"}}, []string{"8"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n noted
			l, _, _ := story(&n)
			tail := rescue(l, test.commands...)
			tail.info.Fork = test.fork
			checkTail(l, final{node: "us-1", region: "us"}, tail, n.wrong)
			n.want(t, test.want...)
		})
	}
}

func TestEachNodeSavesWhatItGaveUp(t *testing.T) {
	var n noted
	l, lost, end := story(&n)
	saved := rescue(l, tailCommand{1, 3, "c"})
	l.gaveUp("us-1", lost, end)
	l.gaveUp("us-2", lost, end)
	l.gaveUp("eu-1", end.parent, end)
	checkEachSaved(l, []final{{node: "us-1", tails: []tail{saved}}, {node: "us-2"}, {node: "eu-1"}}, n.wrong)
	n.want(t, "8") // of us-2: that us-1 has it does not help, and eu-1 lost nothing
}

// The expiry of a lease may be decided in two histories, and is the same command.
func TestACommandThatStandsInTwoHistories(t *testing.T) {
	var n noted
	l, lost, end := story(&n)
	l.command(end, lost.data, "eu", "eu-1")
	l.values[lost.data] = []*place{l.values[lost.data][1], lost}
	checkTail(l, final{node: "us-1", region: "us"}, rescue(l, tailCommand{1, 3, "c"}), n.wrong)
	n.want(t)
}

func TestLineageKnowsWhoMayWrite(t *testing.T) {
	var n noted
	l, lost, end := story(&n)
	n.want(t)
	if !l.find(lost.parent.chain).before(end) || lost.before(end) {
		t.Error("the fork is not where it should be")
	}
	l.command(end, "e", "us", "us-1")
	n.want(t, "3")
	l.begin(end, replication.Reign{Epoch: 2, First: 4, Primary: "eu"}, "eu", "eu-1", false)
	n.want(t, "3", "6", "6")
}

func TestLineageComparesNodesAtOneIndex(t *testing.T) {
	var n noted
	l, lost, end := story(&n)
	l.reached("us", "us-1", 5, 1, lost)
	l.reached("us", "us-2", 5, 1, lost)
	l.reached("eu", "eu-1", 5, 1, end)
	n.want(t)
	l.reached("us", "us-3", 5, 1, end)
	n.want(t, "4")
}

func TestHandoversEndEpochs(t *testing.T) {
	var n noted
	l, _, _ := story(&n)
	checkHandovers(l, n.wrong)
	n.want(t)
	l.reigns[2][0].Lossy = false
	p := l.find(l.reigns[2][0].Previous)
	handed := replication.Reign{Epoch: 2, First: 3, Primary: "eu", Handoff: 1, Previous: p.chain}
	q := l.begin(p, handed, "eu", "eu-1", false)
	l.reigns[2] = []replication.Reign{*q.reign}
	n = nil
	checkHandovers(l, n.wrong)
	n.want(t, "6")
}

func TestOrderOfWritesAndReads(t *testing.T) {
	at := func(p replication.Position) *place { return &place{position: p} }
	write := func(begin, end uint64, p replication.Position) operation {
		return operation{values: []string{"x"}, begin: begin, end: end, position: p}
	}
	read := func(begin, end uint64, p replication.Position) operation {
		return operation{seen: at(p), begin: begin, end: end}
	}
	for _, test := range []struct {
		name string
		did  []operation
		want []string
	}{
		{"in order", []operation{write(1, 2, 1), read(3, 4, 1), write(5, 6, 2)}, nil},
		{"side by side", []operation{write(1, 4, 2), write(2, 3, 1), read(2, 5, 0)}, nil},
		{"stale read", []operation{write(1, 2, 1), read(3, 4, 0)}, []string{"2"}},
		{"read goes back", []operation{write(1, 9, 1), read(2, 3, 1), read(4, 5, 0)}, []string{"2"}},
		{"write goes back", []operation{write(1, 2, 2), write(3, 4, 1)}, []string{"2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n noted
			checkOrder(test.did, n.wrong)
			n.want(t, test.want...)
		})
	}
}

func TestLedgerKeepsWhatWasSynced(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l, err := openLedger(pebblefs.New(disk), stateFolder)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(p replication.Position, data string) {
		t.Helper()
		b := &replication.Batch{
			First: p, Commands: []replication.Command{{Data: []byte(data)}},
			Metadata: &replication.Metadata{Position: p},
		}
		if _, err := l.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	apply(1, "a")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	apply(2, "b")
	after, err := openLedger(pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{})), stateFolder)
	if err != nil {
		t.Fatal(err)
	}
	if meta, _ := after.Load(); meta == nil || meta.Position != 1 || !slices.Equal(after.items(), []string{"a"}) {
		t.Fatalf("after the crash: %v, %q", meta, after.items())
	}
	var copied bytes.Buffer
	view, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := view.WriteTo(&copied); err != nil {
		t.Fatal(err)
	}
	if err := after.Restore(&copied, &replication.Metadata{Position: 7}); err != nil {
		t.Fatal(err)
	}
	if meta, _ := after.Load(); meta.Position != 7 || !slices.Equal(after.items(), []string{"a", "b"}) {
		t.Fatalf("restored: %v, %q", meta, after.items())
	}
}

func FuzzLedgerRecord(f *testing.F) {
	p, err := encodeRecord(ledgerRecord{Items: []string{"a"}, Meta: &replication.Metadata{Position: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add(p[:len(p)-1])
	f.Fuzz(func(t *testing.T, p []byte) {
		body, rest, ok := cutRecord(p)
		if ok && len(body)+len(rest)+8 != len(p) {
			t.Fatalf("%d bytes became %d and %d", len(p), len(body), len(rest))
		}
	})
}
