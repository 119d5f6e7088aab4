package feed_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/feed"
)

// forked reads the end of a feed of a history that is not the fleet's.
func (r *reader) forked() {
	r.t.Helper()
	var forked *feed.ForkedError
	if err := r.ends(); !errors.As(err, &forked) || forked.Revision == 0 || !strings.Contains(err.Error(), "a copy") {
		r.t.Errorf("%+v", err)
	}
}

// twoClaims is nodes 0 and 2 of one region, and 1 of another one. Both were forced in one epoch, and the revisions of 1
// are the higher ones. Node 2 is called as 1 is: it stands for that after it has followed the others.
func twoClaims(t *testing.T) *world {
	w := newWorld(t, 3)
	for i, n := range w.nodes {
		n.Replicator.Be([]uint64{7, 8, 8}[i])
	}
	w.put("k", "1", 0, 1, 2)
	for i, n := range w.nodes {
		n.FailOver(t, 2, []uint8{1, 2, 1}[i])
	}
	w.put("k", "2", 0, 2)
	return w
}

// Of two regions that were forced in one epoch the one with the higher revisions gave way. Who has followed it is told
// once a node of it says that: whether it runs, or goes on, and wherever it stands. Other endpoints are only behind.
func TestTwoRegionsForcedInOneEpoch(t *testing.T) {
	w := twoClaims(t)
	c := &cuts{dial: w.to(1, 0, 2)}
	var told troubles
	r := w.follow(feed.Options{Dial: c.to, Trouble: told.tell})
	tokens := []feed.Token{r.want("begin").Token}
	w.put("k", "lost", 1)
	tokens = append(tokens, r.want("revision put k=lost").Token, r.want("resolved").Token)
	c.cut()
	r.forked()
	if !told.has("forced in one epoch") {
		t.Errorf("told: %q", told.said)
	}
	r = w.follow(feed.Options{Dial: w.to(1), Copy: true})
	r.want("copy", "keys k=lost")
	for _, token := range append(tokens, r.want("copied").Token) {
		w.follow(feed.Options{Dial: w.to(0, 2), Token: token}).forked()
		r := w.follow(feed.Options{Dial: w.to(0, 2), Token: token, Copy: true})
		r.want("copy", "keys k=2", "copied", "resolved")
	}
}

// A copy of the history that was given up begins anew, and is no copy of two.
func TestACopyOfAHistoryThatWasGivenUp(t *testing.T) {
	w := twoClaims(t)
	for i := range 100 { // more than a page
		w.put(fmt.Sprintf("k%03d", i), "lost", 1)
	}
	c := &cuts{dial: w.to(1, 0, 2, 2)}
	r := w.follow(feed.Options{Dial: c.to, Copy: true})
	first := r.want("copy")
	if r.item().Kind != feed.Keys {
		t.Fatal("there are no keys")
	}
	c.cut()
	again := r.want("copy")
	if r.want("keys k=2", "copied"); again.Revision >= first.Revision {
		t.Errorf("at %d, and then at %d", first.Revision, again.Revision)
	}
}

// A fleet that was begun anew under its name, or restored, has other things at the same revisions: whoever goes on
// there is told, also where nothing was changed since, and with what is followed deleted.
func TestAFleetThatWasBegunAnew(t *testing.T) {
	w := newWorld(t, 2)
	key, end := feed.Prefix("k")
	o := feed.Options{Dial: w.to(0), Key: key, End: end}
	w.put("k", "1")
	r := w.follow(o)
	var tokens []feed.Token
	keep := func(kind string) { tokens = append(tokens, r.want(kind).Token) }
	r.want("begin")
	last := w.put("k", "2", 0)
	keep("revision put k=2")
	keep("resolved")
	if _, err := w.write[0].Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	keep("revision delete k=")
	far := w.put("other", "1", 0)
	for r.want("resolved").Revision < far {
	}
	tokens = append(tokens, r.kept)
	for _, other := range []string{"k", "other", "other", "k"} { // of one more than the first fleet has
		w.put(other, "begun anew", 1)
	}
	for i, token := range tokens {
		o.Token, o.Dial, o.Copy = token, w.to(1), false
		f := w.follow(o)
		f.want("begin")
		f.forked()
		o.Copy = true
		f = w.follow(o)
		f.want("begin", "copy", "keys k=begun anew", "copied")
		o.Dial, o.Copy = w.to(0), false
		f = w.follow(o)
		f.want("begin")
		if i < 2 {
			f.want("revision delete k=")
		}
		f.want("resolved")
	}
	o.Dial, o.Token = w.to(1), old(tokens[0])
	w.follow(o).want("begin", "revision put k=begun anew") // an earlier version has not kept what there was
	for _, at := range []int64{last, far} {
		w.compact(0, at)
		o.Dial = w.to(0)
		for _, token := range tokens[2:] { // of a deletion, and up to it or behind it all is compacted
			o.Token = token
			w.follow(o).want("begin", "resolved")
		}
	}
}

// old is a token as an earlier version has made it of the same place.
func old(token feed.Token) feed.Token {
	parts := slices.Concat([]string{"1"}, strings.Split(string(token), ".")[1:5])
	text := strings.Join(parts, ".")
	sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	return feed.Token(fmt.Sprintf("%s.%08x", text, sum))
}
