package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// looks has a node find every file that holds the word rotten.
func (n *node) looks() {
	look := checkpoint.Look{File: func(dir, name string) error {
		content, err := durable.ReadFile(pebblefs.New(n.disk), filepath.Join(dir, name))
		if err == nil && filepath.Base(name) == "stream" && bytes.Contains(content, []byte("rotten")) {
			err = fmt.Errorf("%w: a block of %s", checkpoint.ErrCorrupt, name)
		}
		return err
	}}
	n.staging.config.Look, n.shelf.sums.Look = look, look
}

// TestADamagedStateIsGivenToNobody (T7): whoever holds it is told.
func TestADamagedStateIsGivenToNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		var told []error
		us.looks()
		us.shelf.config.Damaged = func(err error) { told = append(told, err) }
		us.begin("us")
		us.put("rotten")
		if id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil); err == nil {
			t.Errorf("took copy %s", id)
		}
		if names, _ := us.disk.List("/copies"); len(told) != 1 || len(names) != 0 {
			t.Fatalf("told %v; copies %v", told, names)
		}
		if !errors.Is(told[0], checkpoint.ErrCorrupt) {
			t.Errorf("told %v", told)
		}
	})
}

// TestADamagedCopyIsNotStaged (T7): whoever gave it does not look.
func TestADamagedCopyIsNotStaged(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.looks()
		us.begin("us")
		us.put("rotten")
		_, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil)
		if !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Errorf("%v", err)
		}
		if held := eu.staging.Held(Wanted{Region: "us"}); len(held) != 0 {
			t.Errorf("staged %+v", held)
		}
	})
}

// TestWhoGivesADamagedCopyIsNotAskedAgain, as long as another node of the region can be: neither where that is found as
// it comes, nor where it is found as it is put in place.
func TestWhoGivesADamagedCopyIsNotAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, c := start(t, net, "us-1"), start(t, net, "us-2"), start(t, net, "us-3")
		a.others = []string{"us-2", "us-3"}
		for n, value := range map[*node]string{b: "rotten", c: "good"} {
			n.begin("us")
			n.put(value)
		}
		own := func() (string, error) { return a.staging.FetchOwn(1) }
		sibling := func() (string, error) { return a.staging.FetchSibling(t.Context(), 1) }
		take := func(fetch func() (string, error), want string) string {
			t.Helper()
			id, err := fetch()
			if err != nil {
				t.Fatal(err)
			}
			a.holds(id, []string{want})
			return id
		}
		for _, fetch := range []func() (string, error){own, sibling} {
			a.staging.Spoiled(take(fetch, "rotten"))
			id := take(fetch, "good")
			if len(a.staged()) != 1 {
				t.Errorf("staged %v", a.staged())
			}
			a.staging.Discard(id) // as who has put it in place
		}
		a.staging.Spoiled(take(sibling, "rotten"))
		a.staging.Spoiled(take(sibling, "good"))
		if id, err := sibling(); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("both gave a damaged copy: %q, %v", id, err)
		}
		a.staging.Spoiled(take(own, "rotten"))
		a.staging.Spoiled(take(own, "good"))
		a.staging.Discard(take(own, "rotten")) // both are asked again
		a.staging.Spoiled(take(own, "rotten"))
		a.others = []string{"us-2", "us-9"}
		a.staging.Discard(take(own, "rotten")) // us-9 is down, and us-2 may be another node by now
		a.others = []string{"us-2", "us-3"}
		a.looks()
		a.staging.Discard(take(own, "good"))
	})
}

// TestWhatArrivesOtherwiseThanItWasSummedIsReadAgain: a disk changed a copy since, and as long as only its sum is known
// nobody would ever get it.
func TestWhatArrivesOtherwiseThanItWasSummedIsReadAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		us.begin("us")
		us.put("value")
		waits, err := us.take(&Request{Region: "eu"})
		if err != nil {
			t.Fatal(err)
		}
		us.shelf.release(waits)
		flip(t, us.disk, waits.dir+"/contents/stream")
		_, _, err = eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil)
		if !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Fatalf("%v", err)
		}
		virtual.Wait()
		if !us.shelf.doubted.Load() {
			t.Error("its sums are believed")
		}
		id, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu", Have: eu.staging.Partial()}, nil)
		if err != nil || id == waits.id {
			t.Fatalf("copy %s again: %v", id, err)
		}
		eu.holds(id, []string{"value"})
		if us.shelf.doubted.Load() {
			t.Error("it is read anew each time")
		}
	})
}

// flip changes a bit of a file.
func flip(t *testing.T, fs *vfs.MemFS, name string) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 3)
	if err == nil {
		b[0] ^= 1
		_, err = f.WriteAt(b, 3)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
