package forming

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// someBlank is us-1 with an empty disk, or one that was sown.
func someBlank(sown string) *Forming {
	return New(Config{
		Self: timeline.Member{ID: 1, Name: "us-1"}, Blank: true, Sown: sown, Disk: recall.Disk{ID: "own"},
		Clock: clock.Real,
	})
}

// TestWhoIsEmptyTakesPart only where nobody who is silent, or empty too, may hold what the region acknowledged with it.
func TestWhoIsEmptyTakesPart(t *testing.T) {
	// For each other node: b is blank, d holds data and does not know this one, f formed the region with this disk, o
	// with disks among which this one is not, - does not answer.
	for others, want := range map[string]string{
		"b": "", "d": "", "-": "waits for n0,", "f": "",
		"bb": "", "dd": "", "f-": "", "fb": "", "of": "",
		"b-": "waits for n1,", "d-": "waits for n1,", "--": "waits for n0, n1,",
		"bd": "n0, us-1 are empty", "bo": "n0, us-1 are empty", "oo": "",
		"bbbb": "", "bbb-": "waits for n3,", "ddd-": "", "dddb": "", "dd--": "waits for n2, n3,",
		"ddb-": "waits for n3,", "bb--": "waits for n2, n3,", "ddbb": "n2, n3, us-1 are empty", "f---": "",
	} {
		f := someBlank("")
		var all []said
		for i, kind := range others {
			o := said{node: "n" + string(rune('0'+i)), id: uint64(i + 2)}
			switch kind {
			case 'b':
				o.blank = "empty"
			case 'f':
				o.formed = map[uint64]string{1: "own"}
			case 'o':
				o.formed = map[uint64]string{9: "other"}
			case '-':
				o.silent = true
			}
			all = append(all, o)
		}
		born, lacks := f.judge(all, func() string { return "; not the first day" })
		formed := born.Formed
		if want == "" && lacks != "" || !strings.HasPrefix(lacks, want) {
			t.Errorf("%s: %q, want %q", others, lacks, want)
		}
		if known := lacks == "" && strings.Trim(others, "b") == "" || strings.Contains(others, "f"); known !=
			(formed[1] == "own") {
			t.Errorf("%s: formed with %v", others, formed)
		}
	}
}

// ready is the life of a node that was started.
func ready(t *testing.T) *life.Life {
	t.Helper()
	l := life.New(clock.Real, slog.New(slog.DiscardHandler))
	if err := errors.Join(l.Begin(), l.Ready()); err != nil {
		t.Fatal(err)
	}
	l.EndStart()
	return l
}

// TestAProcessThatComesGoesByNothingThatThisOneDoesNot: where the disk has no room the node waits, and the next
// decision may be another one; a note that has its name already, and may not be durable, is taken back. Any other error
// ends the node, whoever had it noted.
func TestAProcessThatComesGoesByNothingThatThisOneDoesNot(t *testing.T) {
	lives := ready(t)
	defer lives.Close()
	unsettled := func(err error) error { return fmt.Errorf("%w: %w", durable.ErrUnsettled, err) }
	for _, c := range []struct {
		note, back, want error
		waits            bool
		taken            int // back, so often
	}{
		{syscall.ENOSPC, nil, nil, true, 0},
		{unsettled(syscall.ENOSPC), nil, nil, true, 1},
		{unsettled(syscall.ENOSPC), syscall.EROFS, durable.ErrUnsettled, true, 1},
		{unsettled(syscall.EIO), nil, syscall.EIO, true, 1},
		{unsettled(syscall.EIO), syscall.EROFS, durable.ErrUnsettled, true, 1},
		{syscall.EIO, nil, syscall.EIO, true, 0},
		{nil, nil, nil, false, 0},
	} {
		note, noted, taken := c.note, "", 0
		f := New(Config{
			Self: timeline.Member{ID: 1, Name: "us-1"}, Blank: true, Disk: recall.Disk{ID: "before"}, Clock: clock.Real,
			Life: lives, Note: func(p recall.Part) error { noted = p.Formed[1]; return note },
			TakeBack: func() error { taken++; return c.back },
		})
		first := func(context.Context) string { return "" }
		_, lacks, err := f.take(t.Context(), first)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || f.Waits() != c.waits || taken != c.taken {
			t.Errorf("%v: %q, %v; it waits: %t, and took back %d times", c.note, lacks, err, f.Waits(), taken)
		}
		there := errors.Is(err, durable.ErrUnsettled) || strings.Contains(fmt.Sprint(lacks, err), "in its place")
		if there != (c.back != nil) {
			t.Errorf("%v: that the note is there is said: %t, %q, %v", c.note, there, lacks, err)
		}
		note, f.config.Disk.ID = nil, "now"
		_, lacks, err = f.take(t.Context(), first)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%v, then %q, %v", c.note, lacks, err)
		}
		if err == nil && (f.Waits() || c.waits != (noted == "now")) {
			t.Errorf("%v, then: it waits: %t, and has noted %q", c.note, f.Waits(), noted)
		}
	}
}

// unreachable is a transport over which nobody is.
type unreachable struct{ transport.Transport }

func (unreachable) Open(context.Context, string, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

// TestWhoIsNotWaitedForIsNotSilent: where the caller of an order, or the node, ends while others are asked, nothing is
// formed, and nobody is said not to answer.
func TestWhoIsNotWaitedForIsNotSilent(t *testing.T) {
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ends := range []bool{false, true} {
		lives := ready(t)
		ctx, want := left, context.Canceled
		if ends {
			lives.Close()
			ctx, want = t.Context(), contract.ErrClosed
		}
		for _, others := range []map[string]string{nil, {"us-2": "us-2"}} {
			f := someBlank("")
			f.config.Life, f.config.Nodes, f.config.Timeout = lives, others, time.Second
			f.config.Client = peer.NewClient(unreachable{})
			f.config.Note = func(recall.Part) error { t.Error("it takes part"); return nil }
			_, lacks, err := f.take(ctx, func(context.Context) string { return "" })
			if !errors.Is(err, want) || f.failed != nil || lacks != "" || f.lacks != "" {
				t.Errorf("%q, %v; for good: %v; it waits: %q", lacks, err, f.failed, f.lacks)
			}
		}
		lives.Close()
	}
}

// TestWhoComesEmptyIsOfTheLifeOfMost: one that formed the region anew by itself says neither how it was formed nor that
// this node was never there.
func TestWhoComesEmptyIsOfTheLifeOfMost(t *testing.T) {
	// For each other node: a and x hold data of one of two lives, d holds data and does not say of which.
	for others, want := range map[string]string{
		"aax": "", "xaa": "", "axaa": "", "aaa": "", "ad": "",
		"ax": "(n0 / n1)", "xa": "(n0 / n1)", "aadx": "(n0, n1 / n3)", "aax-": "waits for n3,", "adx": "(n0 / n2)",
	} {
		f := someBlank("")
		var all []said
		for i, kind := range others {
			o := said{node: fmt.Sprintf("n%d", i), id: uint64(i + 2), silent: kind == '-'}
			switch kind {
			case 'a':
				o.formed, o.left = map[uint64]string{8: "theirs", 9: "theirs"}, []uint64{1, 7}
			case 'x':
				o.formed = map[uint64]string{uint64(i + 2): "its own"}
			}
			all = append(all, o)
		}
		born, lacks := f.judge(all, func() string { return "" })
		if !strings.Contains(lacks, want) || (want == "") != (lacks == "") {
			t.Errorf("%s: %q, want %q", others, lacks, want)
		}
		if want == "" && (born.Formed[9] != "theirs" || !slices.Equal(born.Left, []uint64{7})) {
			t.Errorf("%s: it says of itself %+v", others, born)
		}
	}
}

// TestAMajorityIsEnough on the first day of the fleet, and where somebody vouches for the others: if it is empty, and
// nobody who answers holds anything. Those who do not answer are left out.
func TestAMajorityIsEnough(t *testing.T) {
	left := func(ids ...uint64) []uint64 { return ids }
	for _, c := range []struct {
		others string // as above
		left   []uint64
		lacks  string
	}{
		{"b-", left(3), ""},
		{"bb--", left(4, 5), ""},
		{"bbb-", left(5), ""},
		{"-", nil, "1 of 2 nodes are up, and empty, less than a majority"},
		{"--", nil, "1 of 3 nodes are up, and empty, less than a majority"},
		{"b---", nil, "2 of 5 nodes are up, and empty, less than a majority"},
		{"d-", nil, "n0 holds data, so that nobody forms the region anew"},
		{"bbd-", nil, "n2 holds data, so that nobody forms the region anew"},
		{"bd", nil, "n0, us-1 are empty"},
	} {
		f := someBlank("")
		var all []said
		for i, kind := range c.others {
			o := said{node: fmt.Sprintf("n%d", i), id: uint64(i + 2), silent: kind == '-'}
			if kind == 'b' {
				o.blank = "empty"
			}
			all = append(all, o)
		}
		born, lacks := f.judge(all, func() string { return "" })
		if !strings.Contains(lacks, c.lacks) || (c.lacks == "") != (lacks == "") || !slices.Equal(born.Left, c.left) ||
			lacks == "" && (born.Formed[1] != "own" || len(born.Formed)+len(born.Left) != len(c.others)+1) {
			t.Errorf("%s: %q, formed %+v", c.others, lacks, born)
		}
	}
}

// TestWhatIsSownFormsARegionWithItsLikeAlone, and none that lives. Of the others, as above, a is sown alike, x is not.
func TestWhatIsSownFormsARegionWithItsLikeAlone(t *testing.T) {
	for _, c := range []struct{ sown, others, lacks string }{
		{"a", "aa", ""}, {"a", "ab", ""}, {"", "aa", ""}, {"", "", ""}, {"a", "f-", ""}, {"", "add", ""},
		{"a", "a-", ""},
		{"a", "bb", "1 of 3 were restored"}, {"", "ab", "1 of 3 were restored (n0)"},
		{"a", "b-", "waits for n1, which may hold what the region acknowledged"},
		{"a", "b-", "1 of 3 were restored (us-1)"},
		{"a", "ax", "different things (n1 / us-1, n0)"}, {"", "ax", "different things (n0 / n1)"},
		{"a", "ad", "this region lives already, and n1 holds its data"}, {"a", "dd", "lives already, and n0, n1 hold"},
		{"a", "d-", "lives already"}, {"a", "oo", "lives already"},
	} {
		f := someBlank(c.sown)
		var all []said
		for i, kind := range c.others {
			o := said{node: fmt.Sprintf("n%d", i), id: uint64(i + 2), silent: kind == '-'}
			switch kind {
			case 'a', 'x':
				o.sown = string(kind)
				fallthrough
			case 'b':
				o.blank = "empty"
			case 'f':
				o.formed = map[uint64]string{1: "own"}
			case 'o':
				o.formed = map[uint64]string{9: "other"}
			}
			all = append(all, o)
		}
		born, lacks := f.judge(all, func() string { return "" })
		if !strings.Contains(lacks, c.lacks) || (c.lacks == "") != (lacks == "") || lacks != "" && born.Formed != nil {
			t.Errorf("%q among %s: %q, formed %+v", c.sown, c.others, lacks, born)
		}
	}
}

// TestTheFirstDayIsWhatAMajorityOfEachOtherRegionSays, and nobody who answers knows better.
func TestTheFirstDayIsWhatAMajorityOfEachOtherRegionSays(t *testing.T) {
	none := func(ids ...uint64) (list []word) {
		for _, id := range ids {
			list = append(list, word{id: id, node: fmt.Sprintf("eu-%d", id), voters: 3})
		}
		return list
	}
	for name, c := range map[string]struct {
		addresses int
		words     []word
		want      string // "": it is
	}{
		"two of three":     {3, none(1, 2), ""},
		"all":              {3, none(1, 2, 3), ""},
		"one of three":     {3, none(1), "start a majority of region eu, of which 1 of 3 nodes say"},
		"nobody":           {3, nil, "of which 0 of 3 nodes say"},
		"one node":         {1, []word{{id: 1, node: "eu-1", voters: 1}}, ""},
		"few addresses":    {1, none(1), "of which 1 of 3 nodes say"},
		"one by two names": {3, none(1, 1), "of which 1 of 3 nodes say"},
		"one knows of it": {3, append(none(1, 2), word{id: 3, node: "eu-3", history: "knows of epoch 2"}),
			"this is not the first day of the fleet: node eu-3 of region eu knows of epoch 2"},
		"one of two is old": {3, append(none(1), word{id: 2, node: "eu-2", old: true}),
			"of which 1 of 3 nodes say that they know of no history, and eu-2 is of a version that cannot"},
		"the third is old": {3, append(none(1, 3), word{id: 2, node: "eu-2", old: true}), ""},
	} {
		if got := notFirstDay("eu", c.addresses, c.words); !strings.Contains(got, c.want) ||
			(c.want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestWhoIsOfAnotherLifeIsNotHeard, as it says itself when it is asked, until it says otherwise: it may be another one
// that is there by then. Who does not know how the region was formed is heard.
func TestWhoIsOfAnotherLifeIsNotHeard(t *testing.T) {
	f := New(Config{
		Self: timeline.Member{ID: 1, Name: "us-1"}, Disk: recall.Disk{ID: "a"}, Clock: clock.Real,
		Born:    recall.Part{Formed: map[uint64]string{1: "a", 2: "b", 3: "c"}},
		Applied: region.NewApplied(&region.View{}, nil), Logger: slog.New(slog.DiscardHandler),
	})
	for _, c := range []struct {
		formed map[uint64]string
		heard  bool
	}{
		{map[uint64]string{3: "d"}, false}, {map[uint64]string{3: "d"}, false}, {nil, true},
		{map[uint64]string{1: "x", 3: "d"}, false}, {map[uint64]string{1: "a", 2: "b", 3: "c"}, true},
		{map[uint64]string{3: "c"}, true},
	} {
		f.Answered(3, map[string]map[uint64]string{"us-3": c.formed})
		if got := f.Admits(3); got != c.heard || f.Apart(3, "us-3") == c.heard || !f.Admits(2) || f.Apart(2, "us-3") {
			t.Errorf("formed with %v: heard %t, and the other one %t", c.formed, got, f.Admits(2))
		}
	}
}

// TestAMemberThatMovedIsHeard: somebody of another life has the place that it had before, and answers there. To him
// nothing is sent.
func TestAMemberThatMovedIsHeard(t *testing.T) {
	theirs := map[uint64]string{1: "a", 2: "b", 3: "c"}
	f := New(Config{
		Self: timeline.Member{ID: 1, Name: "us-1"}, Disk: recall.Disk{ID: "a"}, Clock: clock.Real,
		Born:    recall.Part{Formed: theirs},
		Applied: region.NewApplied(&region.View{}, nil), Logger: slog.New(slog.DiscardHandler),
	})
	for _, c := range []struct {
		formed map[string]map[uint64]string
		heard  bool
	}{
		{map[string]map[uint64]string{"old": {3: "d"}}, false},
		{nil, false}, // nobody answers: he may be there still
		{map[string]map[uint64]string{"old": {3: "d"}, "new": theirs}, true},
		{map[string]map[uint64]string{"old": {3: "d"}, "new": nil}, true},
		{map[string]map[uint64]string{"old": {3: "d"}, "new": {3: "e"}}, false},
		{map[string]map[uint64]string{"new": theirs}, true},
		{map[string]map[uint64]string{"old": {3: "d"}}, false}, // alone again
	} {
		f.Answered(3, c.formed)
		if f.Admits(3) != c.heard || f.Apart(3, "a third") == c.heard {
			t.Errorf("%v: heard %t, where nobody said it apart %t", c.formed, f.Admits(3), f.Apart(3, "a third"))
		}
		for addr, formed := range c.formed {
			if f.Apart(3, addr) != (formed[3] == "d" || formed[3] == "e") {
				t.Errorf("%v: at %s apart %t", c.formed, addr, f.Apart(3, addr))
			}
		}
	}
}
