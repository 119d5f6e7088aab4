package transfer

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

func TestTheStateOfAnotherRegionArrives(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put("a", "b")
		id, d, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", MinEpoch: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		us.holds(id, []string{"a", "b"})
		if d.Region != "eu" || d.Index != 2 || d.Origin.Cursor != eu.author.Cursor() || len(d.Origin.Reigns) != 1 {
			t.Errorf("description %+v", d)
		}
		if got := us.staged(); !slices.Equal(got, []string{id}) {
			t.Errorf("staged %v", got)
		}
	})
}

// TestACopyFitsWhatWasAskedFor (T3).
func TestACopyFitsWhatWasAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		us.put("a")
		for _, c := range []struct {
			name string
			r    Request
			want error
		}{
			{"what it has", Request{Region: "us", MinIndex: 2, MinEpoch: 1}, nil},
			{"a later entry", Request{Region: "us", MinIndex: 3}, contract.ErrNotReady},
			{"a later epoch", Request{Region: "eu", MinEpoch: 2}, contract.ErrNotReady},
		} {
			if _, err := us.take(&c.r); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		claim := &timeline.Reign{Epoch: 2, First: 1, Primary: "eu"}
		us.control(&timeline.Control{Op: timeline.OpDiverge, Epoch: 1, Fork: 0, At: 1, Claim: claim})
		if _, err := us.take(&Request{Region: "us"}); err != nil {
			t.Errorf("a diverged region to its own node: %v", err)
		}
		if _, err := us.take(&Request{Region: "eu"}); !errors.Is(err, contract.ErrDiverged) {
			t.Errorf("a diverged region to another: %v", err)
		}
	})
}

// halfWay breaks a link once half of what is fetched over it is there.
func halfWay(net *memory.Network, a, b string) func(checkpoint.Progress) {
	return func(p checkpoint.Progress) {
		if p.DoneBytes > p.TotalBytes/2 {
			net.Break(a, b)
		}
	}
}

// TestATransferThatBrokeOffGoesOn, with the same copy, although the state has moved since (T1).
func TestATransferThatBrokeOffGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		large := strings.Repeat("x", 3<<20)
		eu.put(large)
		broken := halfWay(net, "us-1", "eu-1")
		if _, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, broken); err == nil {
			t.Fatal("the transfer did not break off")
		}
		part := us.staging.Partial()
		if part == "" || eu.shelf.copies[part] == nil {
			t.Fatalf("a part of %q is there", part)
		}
		eu.put("later")
		least := int64(-1)
		id, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", Have: part},
			func(p checkpoint.Progress) {
				if least < 0 {
					least = p.DoneBytes
				}
			})
		if err != nil || id != part {
			t.Fatalf("copy %s, %v, want %s", id, err, part)
		}
		us.holds(id, []string{large})
		if least < 1<<20 {
			t.Errorf("began again with %d bytes", least)
		}
		id, _, err = us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", Have: part, MinIndex: 3}, nil)
		if err != nil || id == part {
			t.Errorf("copy %s of before entry 3, %v", id, err)
		}
	})
}

// TestANodeTakesTheStateOfAnyOtherThatIsFarEnough: it goes round until one is, and nothing but itself lets go of what
// it got.
func TestANodeTakesTheStateOfAnyOtherThatIsFarEnough(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, c := start(t, net, "us-1"), start(t, net, "us-2"), start(t, net, "us-3")
		a.others = []string{"us-2", "us-3"}
		for _, n := range []*node{b, c} {
			n.begin("us")
			n.put("a")
		}
		net.Isolate("us-2")
		fetched := make(chan string, 1)
		go func() {
			id, err := a.staging.FetchOwn(3)
			if err != nil {
				t.Error(err)
			}
			fetched <- id
		}()
		time.Sleep(20 * time.Second)
		if len(fetched) != 0 {
			t.Fatal("took a state that is not far enough")
		}
		c.put("b")
		id := <-fetched
		a.holds(id, []string{"a", "b"})
		a.term = 99
		a.enter(nil)
		for range 2 {
			a.staging.Tidy(99, false)
		}
		a.holds(id, []string{"a", "b"})
		a.staging.Discard(id)
		if len(a.staged()) != 0 {
			t.Errorf("staged %v", a.staged())
		}
	})
}

// A node that holds something else than its region gives no copy, and whoever is to be rebuilt asks on, for a while.
func TestWhoDiffersGivesNoCopy(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, c := start(t, net, "us-1"), start(t, net, "us-2"), start(t, net, "us-3")
		a.others = []string{"us-2", "us-3"}
		for _, n := range []*node{b, c} {
			n.begin("us")
		}
		b.put("wrong")
		c.put("right")
		b.unfit.Store(true)
		c.unfit.Store(true)
		if _, err := a.staging.FetchSibling(t.Context(), 1); err == nil ||
			!strings.Contains(err.Error(), "gives no copies") {
			t.Fatalf("took a copy of who differs: %v", err)
		}
		c.unfit.Store(false)
		id, err := a.staging.FetchSibling(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		a.holds(id, []string{"right"})
	})
}

// TestWhatIsFoundToBeWrongIsGivenNoFurther (T6), although it was begun before; and when the state of a sibling took the
// place of what was here, nobody goes on with a copy of before, wherever he is.
func TestWhatIsFoundToBeWrongIsGivenNoFurther(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		wrong, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		wrong.begin("us")
		for range 5 {
			wrong.put(strings.Repeat("x", 1<<20))
		}
		alarm := func(p checkpoint.Progress) { wrong.unfit.Store(p.Stage == checkpoint.Coming) }
		began := time.Now()
		if id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, alarm); err == nil {
			t.Fatalf("took copy %s to its end", id)
		}
		if waited := time.Since(began); waited >= checkpoint.Silence {
			t.Errorf("it ended after %v", waited)
		}
		part := eu.staging.Partial()
		if part == "" {
			t.Fatal("no part is here")
		}
		wrong.shelf.Forget() // as a rebuild does
		wrong.unfit.Store(false)
		wrong.put("mended")
		id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu", Have: part}, nil)
		if err != nil || id == part {
			t.Errorf("took copy %s, %v; of what was wrong it had %s", id, err, part)
		}
	})
}

// TestNobodyKeepsACopyOfWhatWasReplaced: one that is being taken or made ends as well.
func TestNobodyKeepsACopyOfWhatWasReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		taken, err := us.take(&Request{Region: "us"})
		if err != nil {
			t.Fatal(err)
		}
		us.shelf.Forget()
		if again, err := us.take(&Request{Region: "us", Have: taken.id}); err != nil || again == taken {
			t.Errorf("it is given again: %t, %v", again == taken, err)
		}
		if err := us.shelf.gives(taken, "us"); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("more of it is given: %v", err)
		}
		us.shelf.release(taken)
		left, _ := us.disk.List("/copies")
		if len(left) != 1 || left[0] == taken.id {
			t.Errorf("left %q, without %q", left, taken.id)
		}
		us.shelf.config.Source = forgetting{us, us.shelf}
		if made, err := us.take(&Request{Region: "eu"}); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("gives %v, which was begun before, %v", made, err)
		}
	})
}

// forgetting is a state that is forgotten as soon as a copy has hold of it.
type forgetting struct {
	Source
	shelf *Shelf
}

func (f forgetting) Hold(dir string) (*region.Held, error) {
	defer f.shelf.Forget()
	return f.Source.Hold(dir)
}

func TestLookingForAStateEndsWithTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a := start(t, net, "us-1")
		a.others = []string{"us-2"}
		ended := make(chan error, 1)
		go func() {
			_, err := a.staging.FetchOwn(1)
			ended <- err
		}()
		virtual.Wait()
		a.life.Close()
		if err := <-ended; err == nil {
			t.Error("no error")
		}
	})
}

// A node that is alone in its region has nobody who could have what it agreed to install.
func TestAStateThatNobodyHasIsDamage(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		if _, err := start(t, net, "us-1").staging.FetchOwn(1); !errors.Is(err, contract.ErrDamaged) {
			t.Errorf("got %v", err)
		}
	})
}

func TestANodeStagesWhatItsLeaderHas(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		leader, follower, source := start(t, net, "us-1"), start(t, net, "us-2"), start(t, net, "eu-1")
		source.begin("eu")
		source.put("a")
		id, _, err := leader.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		from := "us-1"
		follower.others = []string{from}
		stage := func(id string) error {
			r := StageRequest{ID: id, From: from, Term: 5}
			_, err := peer.Ask(t.Context(), leader.client, "us-2", AskStage, r)
			return err
		}
		if err := stage(id); err != nil {
			t.Fatal(err)
		}
		follower.holds(id, []string{"a"})
		for _, damage := range []func(path string) error{
			follower.disk.Remove,
			func(path string) error {
				return durable.WriteFile(pebblefs.New(follower.disk), path, func(io.Writer) error { return nil })
			},
		} {
			if err := damage("/staging/" + id + "/METADATA"); err != nil {
				t.Fatal(err)
			}
			if err := stage(id); err != nil { // what is not whole is taken again
				t.Fatal(err)
			}
			follower.holds(id, []string{"a"})
		}
		leader.staging.Discard(id)
		if err := stage(id); err != nil { // what is here needs nobody
			t.Error(err)
		}
		for _, wrong := range []string{strings.Repeat("0", 32), "../../etc", ""} {
			if err := stage(wrong); err == nil {
				t.Errorf("staged %q", wrong)
			}
		}
		if from = "eu-1"; !errors.Is(stage(strings.Repeat("1", 32)), contract.ErrRejected) {
			t.Error("fetches from where no node of its region is known to be")
		}
	})
}

// TestAStagedCopyStaysWhileItMayBeInstalled (T2).
func TestAStagedCopyStaysWhileItMayBeInstalled(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put("a")
		id, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		us.staging.Keep(id, 3)
		tidied := func(applied uint64) bool {
			us.term = applied
			us.enter(nil)
			for range lingers {
				us.staging.Tidy(applied+1, false)
			}
			return len(us.staged()) == 0
		}
		if tidied(2) || tidied(3) {
			t.Fatal("gone while its leader may propose to install it")
		}
		us.disk = us.disk.CrashClone(vfs.CrashCloneCfg{}) // of the next process
		us.staging.config.FS, us.staging.terms = pebblefs.New(us.disk), map[string]uint64{}
		us.staging.past = map[string]int{}
		if tidied(4) || tidied(5) {
			t.Fatal("gone in the term in which it was found")
		}
		if !tidied(6) {
			t.Error("kept although no leader can propose it any more")
		}
	})
}

// TestTheNextLeaderFindsWhatIsHeld and keeps it, though nobody can propose it for the term before any more (T2).
func TestTheNextLeaderFindsWhatIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put("a")
		id, d, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		us.staging.Keep(id, 3)
		at := d.Origin.Cursor
		us.term = 4
		us.enter(nil)
		us.staging.Tidy(4, false)
		for w, want := range map[Wanted]int{
			{Region: "eu", MinEpoch: at.Epoch}: 1, {Region: "eu", After: at.Position - 1}: 1, {Region: "ap"}: 0,
			{Region: "eu", MinEpoch: at.Epoch + 1}: 0, {Region: "eu", After: at.Position}: 0,
		} {
			if held := us.staging.Held(w); len(held) != want || want > 0 && (held[0].ID != id ||
				held[0].Description.Origin.Cursor != at) {
				t.Errorf("%+v: %+v", w, held)
			}
		}
		other := start(t, net, "us-2")
		held, err := peer.Ask(t.Context(), other.client, "us-1", AskHeld, Wanted{Region: "eu", Term: 4})
		if err != nil || len(held) != 1 {
			t.Fatalf("%+v, %v", held, err)
		}
		for range 2 * lingers {
			us.staging.Tidy(4, false)
		}
		us.holds(id, []string{"a"})
		if _, _, err := other.staging.Fetch(t.Context(), "us-1", Request{Region: "us", ID: id}, nil); err != nil {
			t.Fatal(err)
		}
		other.holds(id, []string{"a"})
	})
}

func TestCopiesForOthersGoOnceNobodyComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		used, err := us.take(&Request{Region: "eu"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := us.take(&Request{Region: "eu", Have: used.id})
		if err != nil || again != used {
			t.Fatalf("another copy, %v", err)
		}
		us.shelf.release(again)
		count := func() int {
			us.shelf.Tidy()
			names, _ := us.disk.List("/copies")
			return len(names)
		}
		time.Sleep(2 * lifetime)
		if count() != 1 {
			t.Error("a copy that is being taken is gone")
		}
		us.shelf.release(used)
		time.Sleep(lifetime)
		if count() != 1 {
			t.Error("gone before its time")
		}
		time.Sleep(time.Second)
		if count() != 0 {
			t.Error("kept for nobody")
		}
		if _, err := us.take(&Request{Region: "eu"}); err != nil {
			t.Fatal(err)
		}
		if us.shelf.Clean(); count() != 0 {
			t.Error("an earlier process left copies")
		}
	})
}

// Log is kept for another region from before its copy is made, and as long as it takes it. A copy from which no log
// leads on any more is not given again, and one copy for a region takes the place of another.
func TestLogIsKeptBehindACopyForAnotherRegion(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		us.begin("us")
		us.put("a", "b")
		id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		virtual.Wait()
		if told := us.tells(); len(told) < 3 || told[0] != 0 || told[1] != 2 || told[2] != 2 {
			t.Errorf("told %v", told)
		}
		us.noLog = contract.ErrNotReady
		us.put("c")
		next, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu", Have: id}, nil)
		if err != nil || next == id {
			t.Fatalf("copy %s again, %v", next, err)
		}
		eu.holds(next, []string{"a", "b", "c"})
		if names, _ := us.disk.List("/copies"); len(names) != 1 {
			t.Errorf("%d copies for one region", len(names))
		}
		us.tells()
		_, err = us.take(&Request{Region: "us"})
		if told := us.tells(); err != nil || len(told) != 0 {
			t.Errorf("a copy for the own region: told %v, %v", told, err)
		}
	})
}
