package archive

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// TestEveryRevisionComesBack of a history of puts, deletes, leases, users and compactions, from snapshots of anywhere
// in it; and the whole of it is what the node has, users and leases included.
func TestEveryRevisionComesBack(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		f.archived("us")
		hashes, images := map[int64]uint32{}, map[int64]image{}
		note := func() {
			revision := us.store.Revision()
			hash, _, _, err := us.store.HashContent(f.t.Context(), revision)
			if err != nil {
				t.Fatal(err)
			}
			if was, ok := hashes[revision]; ok && was != hash {
				t.Fatalf("two contents at %d", revision)
			}
			hashes[revision] = hash
		}
		user, err := command.EncodeAuth(&pb.AuthUserAddRequest{
			Name: "root", HashedPassword: "eA==", Options: nil,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 24 {
			note()
			if i%8 == 0 {
				images[us.store.Revision()] = f.image("us")
			}
			switch i % 8 {
			case 1:
				f.propose("us", command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: int64(i), TTL: 1000}))
				f.propose("us", put("leased", fmt.Sprint(i), int64(i)))
			case 3:
				f.propose("us", command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("leased")}))
			case 5:
				f.propose("us", user)
				f.propose("us", command.EncodeCompaction(&pb.CompactionRequest{Revision: us.store.Revision() - 5}))
			case 6:
				many := make([][]byte, 3) // one revision each, in one entry of the log
				for j := range many {
					many[j] = put(fmt.Sprint("many", j), fmt.Sprint(i), 0)
				}
				f.propose("us", many...)
			default:
				f.propose("us", put(fmt.Sprint("k", i%3), strings.Repeat("v", i), 0))
			}
			if i%7 == 0 {
				time.Sleep(3 * time.Second)
			}
		}
		note()
		f.archived("us")
		last, end := us.store.Revision(), us.Health().Position
		for from, i := range images {
			for revision := from; revision <= last; revision += 1 + 4*(from/5) { // all of them from the first one
				got, at, err := f.replay(i, 0, Target{Revision: revision})
				if err != nil || got.Revision != revision || at.Revision != revision {
					t.Fatalf("from %d to %d: %+v, %v", from, revision, got, err)
				}
				if want, ok := hashes[revision]; ok && got.Hash != want {
					t.Errorf("from %d to %d: another content", from, revision)
				}
			}
			if _, _, err := f.replay(i, 0, Target{Revision: last + 1}); !errors.Is(err, ErrMissing) {
				t.Errorf("beyond the end: %v", err)
			}
			if _, _, err := f.replay(i, 0, Target{Position: 1<<64 - 1}); !errors.Is(err, ErrMissing) {
				t.Errorf("the last position that there can be: %v", err)
			}
			if _, _, err := f.replay(i, 0, Target{Revision: from - 1}); !errors.Is(err, ErrLater) {
				t.Errorf("before the snapshot: %v", err)
			}
			got, _, err := f.replay(i, 0, Target{Position: end})
			if err != nil {
				t.Fatal(err)
			}
			f.wantSame(fmt.Sprint("all behind ", from), got, f.image("us"))
			again := f.image("us")
			if _, _, err := f.replay(again, 0, Target{Position: end}); err != nil {
				t.Errorf("a snapshot of the end: %v", err)
			}
			if _, _, err := f.replay(again, 0, Target{Position: end - 1}); !errors.Is(err, ErrLater) {
				t.Errorf("before it: %v", err)
			}
		}
	})
}

// TestToATime: nothing counts that was archived later, and a time that the archive does not know yet is refused.
func TestToATime(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		f.archived("us")
		base := f.image("us")
		type moment struct {
			at       time.Time
			revision int64
		}
		var moments []moment
		began := time.Now()
		for i := range 9 {
			f.propose("us", put("a", fmt.Sprint(i), 0))
			time.Sleep(1337 * time.Millisecond) // never when the archiver looks
			if i%4 == 3 {
				time.Sleep(time.Minute)
			}
			moments = append(moments, moment{time.Now(), us.store.Revision()})
		}
		f.propose("us", put("a", "last", 0))
		f.archived("us")
		for _, m := range moments {
			_, at, err := f.replay(base, 0, Target{Time: m.at})
			if err != nil || at.Revision != m.revision {
				t.Errorf("at %v: %+v, %v; want revision %d", m.at, at, err, m.revision)
			}
			if at.Before.Time.After(m.at) || !at.After.Time.After(m.at) ||
				at.After.Time.Sub(at.Before.Time) > 3*time.Second {
				t.Errorf("at %v: between %v and %v", m.at, at.Before, at.After)
			}
		}
		if _, _, err := f.replay(base, 0, Target{Time: time.Now().Add(time.Minute)}); !errors.Is(err, ErrMissing) ||
			!strings.Contains(err.Error(), fmt.Sprintf("--to-position %d", us.Health().Position)) {
			t.Errorf("in the future: %v", err)
		}
		if _, _, err := f.replay(base, 0, Target{Time: began.Add(-time.Minute)}); !errors.Is(err, ErrLater) {
			t.Errorf("before the snapshot: %v", err)
		}
		if _, _, err := f.replay(f.image("us"), 0, Target{Time: began}); !errors.Is(err, ErrLater) {
			t.Errorf("before a later snapshot: %v", err)
		}
	})
}

// TestForks: what a forced failover gave up is archived and is a branch, which nothing that is restored follows unless
// it is asked for.
func TestForks(t *testing.T) {
	inBubble(t, []string{"us", "eu"}, func(f *fleet) {
		us, eu := f.nodes["us"], f.nodes["eu"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("shared", "0", 0))
		f.archived("us")
		base := f.image("us")
		f.propose("us", put("shared", "1", 0))
		f.until("eu has it", func() bool { return eu.store.Revision() == us.store.Revision() })
		shared := us.store.Revision()
		f.network.Isolate("us")
		f.propose("us", put("lost", "1", 0))
		f.archived("us")
		lost, lostAt := f.image("us"), Target{Position: us.Health().Position}
		eu.archive(f.shelf)
		if _, err := eu.Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.propose("eu", put("kept", "1", 0))
		f.archived("eu")
		f.propose("us", put("lost", "2", 0)) // it does not know yet
		f.archived("us")
		us.archive(nil)
		if len(Ends(f.shelf.links(f.t))) != 2 {
			t.Errorf("%d ends", len(Ends(f.shelf.links(f.t))))
		}
		got, at, err := f.replay(base, 0, Target{Position: eu.Health().Position})
		if err != nil || at.Cursor.Epoch != 2 {
			t.Fatalf("%+v, %v", at, err)
		}
		f.wantSame("in force", got, f.image("eu"))
		got, at, err = f.replay(base, 1, Target{Position: us.Health().Position})
		if err != nil || at.Cursor.Epoch != 1 {
			t.Fatalf("%+v, %v", at, err)
		}
		f.wantSame("given up", got, f.image("us"))
		for _, target := range []Target{
			{Position: eu.Health().Position + 1}, {Position: us.Health().Position}, {Revision: us.store.Revision()},
			{Revision: eu.store.Revision()}, lostAt, // where it is, too
		} {
			if _, _, err := f.replay(lost, 0, target); !errors.Is(err, ErrMissing) {
				t.Errorf("from what was given up to %v: %v", target, err)
			}
		}
		if _, _, err := f.replay(base, 0, Target{Revision: shared + 1}); !errors.Is(err, ErrMissing) ||
			!strings.Contains(err.Error(), "there is no revision") {
			t.Errorf("a revision that was given up: %v", err)
		}
		if _, _, err := f.replay(base, 0, Target{Revision: shared}); err != nil {
			t.Errorf("the last one that both have: %v", err)
		}
		f.network.Reconnect("us")
		f.until("us follows", func() bool { return us.store.Revision() == eu.store.Revision() })
		eu.archive(nil)
		us.archive(f.shelf) // goes on where the other one was, on the same branch
		f.propose("us", put("kept", "2", 0))
		f.until("us has it", func() bool { return us.store.Revision() == eu.store.Revision() })
		f.archived("us")
		if got, _, err = f.replay(base, 0, Target{Position: us.Health().Position}); err != nil {
			t.Fatal(err)
		}
		f.wantSame("in force again", got, f.image("us"))
		if gaps := us.archiver.Status().Gaps; gaps != 0 {
			t.Errorf("%d gaps", gaps)
		}
	})
}

// TestAGap is told of, and not skipped; a snapshot from behind it leads on.
func TestAGap(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		f.stop("us")
		f.shape = func(c *replication.Config) { c.RetainBytes = 128 << 10 }
		f.start("us")
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		f.archived("us")
		before := f.image("us")
		f.propose("us", put("a", "1", 0))
		f.archived("us")
		reached := us.Health().Position
		f.shelf.fails(func(string) (bool, bool) { return false, false })
		write := func() {
			for i := range 16 {
				f.propose("us", put("b", strings.Repeat(fmt.Sprint(i%10), 32<<10), 0))
				time.Sleep(2500 * time.Millisecond)
			}
		}
		write()
		s := us.archiver.Status()
		lacks := int64(us.Health().Position - reached)
		if s.Failures == 0 || s.Problem == "" || s.Behind != lacks || lacks == 0 || s.Lag < 30*time.Second {
			t.Errorf("a store that fails: %+v, and lacks %d commands", s, lacks)
		}
		if held := us.Health().LogBytes; held > 1<<20 {
			t.Errorf("%d bytes of log are held", held)
		}
		us.archive(nil)
		write()
		f.shelf.fails(nil)
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Gaps > 0 })
		s = us.archiver.Status()
		if s.Gap == nil || s.Gap.At.IsZero() || s.Gap.From != reached || s.Gap.To < reached+32 {
			t.Errorf("gap %+v, archived up to %d", s.Gap, reached)
		}
		us.archive(newShelf()) // as if it were not mounted
		f.until("archiving", func() bool { return us.archiver.Status().Active && us.archiver.Status().Gaps > 0 })
		if s := us.archiver.Status(); s.Gap == nil || s.Gap.From != 0 || s.Gap.To < reached+32 {
			t.Errorf("begun anew in an empty place: gap %+v", s.Gap)
		}
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		behind := f.image("us")
		f.propose("us", put("a", "2", 0))
		f.archived("us")
		end := Target{Position: us.Health().Position}
		if _, _, err := f.replay(before, 0, end); !errors.Is(err, ErrMissing) ||
			!strings.Contains(err.Error(), "take a later snapshot") {
			t.Errorf("over the gap: %v", err)
		}
		got, _, err := f.replay(behind, 0, end)
		if err != nil {
			t.Fatal(err)
		}
		f.wantSame("behind the gap", got, f.image("us"))
	})
}

// TestWhoStandsByKeepsTheLog behind what another node archived, and goes on there without a gap when it leads.
func TestWhoStandsByKeepsTheLog(t *testing.T) {
	inBubble(t, []string{"us", "eu"}, func(f *fleet) {
		f.shape = func(c *replication.Config) { c.CheckpointBytes = -1 } // they hold log, too
		us, eu := f.nodes["us"], f.nodes["eu"]
		for name := range f.nodes {
			f.stop(name)
		}
		f.start("us")
		f.start("eu")
		var leads atomic.Bool
		us.archive(f.shelf)
		eu.archive(f.shelf, func(c *Config) { c.Leads = leads.Load })
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		f.archived("us")
		base := f.image("us")
		time.Sleep(2 * standInterval) // eu has looked where that is
		f.shelf.fails(func(string) (bool, bool) { return false, false })
		for i := range 16 {
			f.propose("us", put("b", strings.Repeat(fmt.Sprint(i%10), 32<<10), 0))
			time.Sleep(time.Second)
		}
		us.archive(nil)
		f.shelf.fails(nil)
		leads.Store(true)
		f.until("eu has it", func() bool { return eu.store.Revision() == us.store.Revision() })
		f.archived("eu")
		if s := eu.archiver.Status(); s.Gaps != 0 {
			f.t.Errorf("gap %+v", s.Gap)
		}
		got, _, err := f.replay(base, 0, Target{Position: eu.Health().Position})
		if err != nil {
			f.t.Fatal(err)
		}
		f.wantSame("what eu archived", got, f.image("us"))
		f.propose("us", put("a", "1", 0))
		f.until("eu has it", func() bool { return eu.store.Revision() == us.store.Revision() })
		f.archived("eu")
		for range 16 {
			f.propose("us", put("b", strings.Repeat("b", 32<<10), 0))
			time.Sleep(6 * time.Second)
		}
		if held := eu.Health().LogBytes; held > 400<<10 {
			f.t.Errorf("%d bytes of log are held for what is archived, %d at us", held, us.Health().LogBytes)
		}
	})
}

// TestAPlaceThatIsDownAsANodeBegins: the node keeps the log that is to be archived, and does not know yet how far that
// came.
func TestAPlaceThatIsDownAsANodeBegins(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		f.archived("us")
		f.stop("us")
		f.start("us")
		var leads atomic.Bool
		f.shelf.unread(errPut)
		us.archive(f.shelf, func(c *Config) { c.Leads = leads.Load })
		for range 16 {
			f.propose("us", put("b", strings.Repeat("b", 32<<10), 0))
			time.Sleep(2 * time.Second)
		}
		f.shelf.unread(nil)
		leads.Store(true)
		f.archived("us")
		if s := us.archiver.Status(); s.Gaps != 0 {
			t.Errorf("gap %+v", s.Gap)
		}
	})
}

// TestAnArchiveOfYears is not listed where its last segment leads on, and may take its time where it is.
func TestAnArchiveOfYears(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		f.archived("us")
		lists, base := f.shelf.listed(), f.image("us")
		us.archive(f.shelf)
		f.propose("us", put("a", "1", 0))
		f.archived("us")
		if n := f.shelf.listed(); n != lists {
			t.Errorf("listed %d times, and %d before", n, lists)
		}
		us.archive(nil)
		if err := f.shelf.Delete(t.Context(), headName); err != nil {
			t.Fatal(err)
		}
		f.shelf.slow = 7 * time.Minute
		us.archive(f.shelf)
		f.propose("us", put("a", "2", 0))
		f.archived("us")
		if s := us.archiver.Status(); s.Failures != 0 || s.Gaps != 0 {
			t.Errorf("%+v", s)
		}
		got, _, err := f.replay(base, 0, Target{Position: us.Health().Position})
		if err != nil {
			t.Fatal(err)
		}
		f.wantSame("all of it", got, f.image("us"))
	})
}

// TestWhatIsGoneOnBehindIsDurable: who put it may have been told that it is not, and the log is let go then.
func TestWhatIsGoneOnBehindIsDurable(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.propose("us", put("k", "0", 0))
		f.archived("us")
		us.archive(nil)
		refused := ""
		f.shelf.settles(func(name string) error {
			refused = name
			return errPut
		})
		us.archive(f.shelf)
		f.until("it is made durable", func() bool {
			s := us.archiver.Status()
			if s.Active && s.Known {
				f.t.Errorf("goes on behind what may not be durable: %+v", s)
				return true
			}
			return s.Failures > 1
		})
		f.shelf.settles(nil) // from here on nobody changes refused
		if !strings.HasPrefix(refused, Prefix) {
			f.t.Errorf("what was made durable is %s", refused)
		}
		f.archived("us")
	})
}

// TestAPlaceWhereNothingIsReplaced is archived to: who goes on there, also behind a segment of which he was told that
// it was not put, puts nothing twice.
func TestAPlaceWhereNothingIsReplaced(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		torn := true
		f.shelf.fails(func(name string) (ok, after bool) { // called with the shelf held
			if _, found := f.shelf.objects[name]; found {
				return false, false
			}
			after, torn = torn, false
			return !after, after
		})
		us.archive(f.shelf)
		f.propose("us", put("k", "0", 0))
		f.archived("us")
		before := len(f.shelf.links(f.t))
		us.archive(f.shelf) // anew
		f.propose("us", put("k", "1", 0))
		f.archived("us")
		if after := len(f.shelf.links(f.t)); after <= before {
			f.t.Errorf("%d segments, and %d later", before, after)
		}
	})
}
