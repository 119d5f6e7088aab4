package keyset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// disk is what an index is about: for each key the revisions at which it began or ceased to exist, in turn.
type disk map[string][]int64

func (d disk) exists(key string, rev int64) bool {
	there := false
	for _, at := range d[key] {
		if at <= rev {
			there = !there
		}
	}
	return there
}

// keys returns the keys of an interval that ever existed up to a revision, in order.
func (d disk) keys(in Interval, upTo int64) (keys []string) {
	for key, flips := range d {
		if flips[0] <= upTo && key >= in.From && (!in.Bounded || key < in.To) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (d disk) count(in Interval, rev int64) (n int64) {
	for _, key := range d.keys(in, rev) {
		if d.exists(key, rev) {
			n++
		}
	}
	return n
}

// look does what is asked of it for a survey.
func (r *trial) look(s *Survey, compact int64) {
	d := r.disk
	s.Since = max(s.Since, compact)
	start := s.Since
	for _, key := range d.keys(s.Interval, s.UpTo) {
		since := start
		var flips []int64
		for _, at := range slices.Backward(d[key]) {
			if at <= since || at > s.UpTo {
				continue
			}
			if len(flips) == s.MostFlips {
				since = at // where it may have flipped twice
				flips = slices.DeleteFunc(flips, func(rev int64) bool { return rev == at })
				break
			}
			flips = append(flips, at)
		}
		made := r.made(key, s.UpTo)
		if len(flips) == 0 && !d.exists(key, since) { // nobody asks for it as it was before
			made = 0
		}
		if !s.Add([]byte(key), r.changed(key, s.UpTo), made, since, d.exists(key, since), flips) {
			return
		}
	}
}

// trial is an index beside what it is about.
type trial struct {
	t       *testing.T
	random  *rand.Rand
	x       *Index
	disk    disk
	names   int
	rev     int64
	compact int64

	rewritten map[string][]int64 // revisions of changes that were no flips; may be nil
}

// changed returns the revision of the last change of a key up to one.
func (r *trial) changed(key string, upTo int64) (last int64) {
	for _, revs := range [][]int64{r.disk[key], r.rewritten[key]} {
		for _, at := range revs {
			if at <= upTo {
				last = max(last, at)
			}
		}
	}
	return last
}

// made returns the revision up to one at which a key began to exist for the last time.
func (r *trial) made(key string, upTo int64) (last int64) {
	for i, at := range r.disk[key] {
		if at <= upTo && i%2 == 0 {
			last = at
		}
	}
	return last
}

func (r *trial) name() string { return fmt.Sprintf("%x", r.random.IntN(r.names)) }

// change changes some keys, several at a revision.
func (r *trial) change(most int, grow bool) {
	var changes, others []Change
	for range r.random.IntN(most) {
		r.rev += r.random.Int64N(3)
		if len(changes) == 0 {
			r.rev++
		}
		key := r.name()
		exists := r.disk.exists(key, r.rev)
		if exists == grow && r.random.IntN(5) > 0 {
			if exists && r.rewritten != nil && r.random.IntN(3) == 0 {
				r.rewritten[key] = append(r.rewritten[key], r.rev)
				others = append(others, Change{Key: key, Revision: r.rev, Exists: true})
			}
			continue
		}
		r.disk[key] = append(r.disk[key], r.rev)
		changes = append(changes, Change{Key: key, Revision: r.rev, Exists: !exists, Flip: true})
	}
	r.x.Apply(r.rev, changes, others)
}

// check counts random intervals at revisions that can be read.
func (r *trial) check() {
	r.t.Helper()
	if err := r.x.valid(); err != nil {
		r.t.Fatal(err)
	}
	for range 10 {
		in := Interval{From: r.name(), To: r.name(), Bounded: r.random.IntN(3) > 0}
		if r.random.IntN(4) == 0 {
			in.From = ""
		}
		rev := r.compact + r.random.Int64N(r.rev-r.compact+2)
		known, rest := r.x.Count(in, rev)
		got := known
		for _, part := range rest {
			got += r.disk.count(part, rev)
		}
		if want := r.disk.count(in, rev); got != want {
			r.t.Fatalf("%+v at %d of %d: %d with %d of %v, want %d", in, rev, r.rev, got, known, rest, want)
		}
		if r.random.IntN(4) == 0 {
			r.checkYoung(in, rev)
			r.checkMade(in, rev)
		}
		next, ok := r.x.Next(in.From, rev)
		if skipped := (Interval{From: in.From, To: next, Bounded: ok}); r.disk.count(skipped, rev) > 0 {
			r.t.Fatalf("%v at %d: keys are skipped", skipped, rev)
		}
		n := r.random.Int64N(20) + 1
		from := r.x.Back(in, rev, n)
		tail := in
		if tail.From = from; from != in.From && (from < in.From || r.disk.count(tail, rev) < n) {
			r.t.Fatalf("%+v at %d: from %q on are not %d keys", in, rev, from, n)
		}
	}
}

// checkYoung sees that no young key is left out, and that what is told lies in the interval, in order.
func (r *trial) checkYoung(in Interval, rev int64) {
	r.t.Helper()
	mod, create := r.rev-r.random.Int64N(200), int64(0)
	if r.random.IntN(3) == 0 {
		mod, create = 0, mod
	}
	var parts []Interval
	for rest := in; ; {
		part, ok := r.x.Young(rest, rev, mod, create)
		if !ok {
			break
		}
		if part.From < rest.From || in.Bounded && (!part.Bounded || part.To > in.To) ||
			part.Bounded && part.To <= part.From {
			r.t.Fatalf("%v is told of %v", part, rest)
		}
		parts = append(parts, part)
		if rest.From = part.To; !part.Bounded {
			break
		}
	}
	for _, key := range r.disk.keys(in, rev) {
		if !r.disk.exists(key, rev) || r.changed(key, rev) < mod {
			continue
		}
		made := r.made(key, rev)
		told := slices.ContainsFunc(parts, func(p Interval) bool {
			return key >= p.From && (!p.Bounded || key < p.To)
		})
		if made >= create && !told {
			r.t.Fatalf("%q, changed at %d and made at %d, is not told of at %d since %d and %d, in %v", key,
				r.changed(key, rev), made, rev, mod, create, parts)
		}
	}
}

// checkMade sees that parts of an interval have all keys that exist, in order, and that none is younger than is told.
func (r *trial) checkMade(in Interval, rev int64) {
	r.t.Helper()
	if in.Bounded && in.To <= in.From {
		if parts := r.x.Made(in, rev); len(parts) > 0 {
			r.t.Fatalf("%v is told of %v", parts, in)
		}
		return
	}
	from, told := in.From, false // up to from, or all of it
	for queue := r.x.Made(in, rev); len(queue) > 0; {
		part := queue[0]
		if queue = queue[1:]; !part.Block {
			queue = slices.Concat(r.x.Made(part.Interval, rev), queue)
			continue
		}
		behind := in.Bounded && (!part.Bounded || part.To > in.To)
		if part.From < from || part.Bounded && part.To <= part.From || behind {
			r.t.Fatalf("%v follows on %q, of %v", part, from, in)
		}
		if known, rest := r.x.Count(part.Interval, rev); part.Bounded && known == 0 && len(rest) == 0 {
			r.t.Fatalf("%v is told of, and has nothing at %d", part, rev)
		}
		if n := r.disk.count(Interval{From: from, To: part.From, Bounded: true}, rev); n > 0 {
			r.t.Fatalf("%d keys at %d between %q and %v, of %v, are left out", n, rev, from, part, in)
		}
		from, told = part.To, !part.Bounded
		for _, key := range r.disk.keys(part.Interval, rev) {
			if made := r.made(key, rev); r.disk.exists(key, rev) && made > part.Made {
				r.t.Fatalf("%q was made at %d, and at %d the latest is %d in %v", key, made, rev, part.Made, part)
			}
		}
	}
	if n := r.disk.count(Interval{From: from, To: in.To, Bounded: in.Bounded}, rev); n > 0 && !told {
		r.t.Fatalf("%d keys at %d from %q on, of %v, are left out", n, rev, from, in)
	}
}

// TestIndexCounts changes keys at random, with looks at blocks under way, and counts at every revision (K1 to K4).
func TestIndexCounts(t *testing.T) {
	for seed := range uint64(18) {
		r := &trial{t: t, random: rand.New(rand.NewPCG(seed, 1)), disk: disk{}, names: 8 << (seed % 6), rev: 1}
		r.rewritten = map[string][]int64{}
		for range r.random.IntN(2) * r.names { // what was there before
			if key := r.name(); len(r.disk[key]) == 0 {
				r.rev++
				r.disk[key] = []int64{r.rev}
			}
		}
		r.x = New(r.rev, 1<<20)
		r.x.limits = limits{blockKeys: 1 + int(seed%3), groupBlocks: 4, surveyKeys: 1 + r.random.IntN(40)}
		r.x.limits.surveyFlips = 1 + r.random.IntN(1+[]int{1, 100}[seed%2])
		for round := range 80 {
			grow := round%40 < 20
			r.change(r.names/4+2, grow)
			r.check()
			if s, ok := r.x.Begin(); ok && r.random.IntN(4) > 0 {
				since := r.compact
				r.change(r.names/4+2, grow)
				r.check()
				r.look(s, since)
				r.change(4, grow)
				if r.random.IntN(8) == 0 {
					r.x.Abandon(s)
				} else {
					r.x.Finish(s)
				}
				r.check()
			} else if ok {
				r.x.Abandon(s)
			}
			if r.random.IntN(20) == 0 {
				r.compact += r.random.Int64N(r.rev - r.compact)
				r.x.Forget(r.compact)
				r.check()
			}
		}
	}
}

// settle looks at whatever is to be looked at.
func (r *trial) settle() {
	for {
		s, ok := r.x.Begin()
		if !ok {
			return
		}
		r.look(s, r.compact)
		r.x.Finish(s)
	}
}

// TestIndexFitsItsBudget sees that an index keeps to its memory by what it forgets, and counts right.
func TestIndexFitsItsBudget(t *testing.T) {
	r := &trial{t: t, random: rand.New(rand.NewPCG(1, 2)), disk: disk{}, names: 1 << 12, rev: 1}
	const budget = 24 << 10
	r.x = New(r.rev, budget)
	r.x.limits.blockKeys = 4
	for range 60 {
		r.change(400, true)
		r.settle()
		for range 30 {
			r.x.Fit()
		}
		if r.x.Bytes() > budget {
			t.Fatalf("%d bytes, budget %d", r.x.Bytes(), budget)
		}
		r.check()
	}
	forgot := r.x.Since()
	if forgot == 0 || r.x.limits.blockKeys == 4 {
		t.Errorf("forgot up to %d, blocks of %d keys: the test shows nothing", forgot, r.x.limits.blockKeys)
	}
	r.compact = r.rev
	r.x.Forget(r.compact)
	for rest := 0; rest < 10; rest++ {
		r.settle()
	}
	if _, rest := r.x.Count(Interval{}, r.rev); len(rest) > 0 {
		t.Errorf("all keys are to be counted in %v", rest)
	}
}

// TestIndexStaysNarrow sees that no count leaves much to be read, whatever became of the keys: those that come in
// order, and those of which one begins and ceases to exist for ever.
func TestIndexStaysNarrow(t *testing.T) {
	x := New(1, 1<<20)
	d := disk{}
	r := &trial{t: t, x: x, disk: d, rev: 1}
	r.settle()
	looks := 0
	for i := range 10_000 {
		r.rev++
		key := fmt.Sprintf("%08d", i/2)
		if i%2 == 1 {
			key = "flap"
		}
		exists := !(len(d[key])%2 == 1)
		d[key] = append(d[key], r.rev)
		if x.Apply(r.rev, []Change{{Key: key, Revision: r.rev, Exists: exists, Flip: true}}) {
			looks++
			r.settle()
		}
	}
	if looks > 5_000/firstWide() {
		t.Errorf("looked %d times", looks)
	}
	for _, g := range x.groups {
		for _, b := range g.blocks {
			if b.keys > 3*defaultLimits.blockKeys {
				t.Errorf("a block has %d keys", b.keys)
			}
		}
	}
	if err := x.valid(); err != nil {
		t.Error(err)
	}
}

// firstWide is how many new keys make a block too wide.
func firstWide() int { return (wideFactor - 1) * defaultLimits.blockKeys / 2 }

// TestIndexTakesSoMuchOfAHistory sees that a survey takes no more of a long history than it may, of one key and of all
// together, and that what it leaves out is part of the rest.
func TestIndexTakesSoMuchOfAHistory(t *testing.T) {
	r := &trial{t: t, random: rand.New(rand.NewPCG(1, 3)), disk: disk{}, names: 64, rev: 1}
	for i := range 40 {
		n := 20
		if i == 30 {
			n = 5_000
		}
		for range n {
			r.rev++
			key := fmt.Sprintf("%02x", i)
			r.disk[key] = append(r.disk[key], r.rev)
		}
	}
	const budget = 1 << 20
	r.x = New(r.rev, budget)
	r.x.limits.surveyFlips = 100
	surveys := 0
	for {
		s, ok := r.x.Begin()
		if !ok {
			break
		}
		r.look(s, 0)
		if s.flips > 100 {
			t.Errorf("%d flips in a survey", s.flips)
		}
		r.x.Finish(s)
		surveys++
		r.check()
	}
	if surveys < 8 || surveys > 12 {
		t.Errorf("%d surveys", surveys)
	}
	for in, want := range map[Interval]bool{
		{From: "00", To: "1e", Bounded: true}: true, {From: "1e", To: "1f", Bounded: true}: false, {From: "1f"}: true,
	} {
		if got := r.known(in, 5); got != want {
			t.Errorf("%v is known at a revision of long ago: %t", in, got)
		}
		if !r.known(in, r.rev) {
			t.Errorf("%v is not known", in)
		}
	}
	if !r.x.Whole() {
		t.Error("not all are counted")
	}
}

// known reports whether all that lies well inside an interval is counted at a revision.
func (r *trial) known(in Interval, rev int64) bool {
	_, rest := r.x.Count(Interval{}, rev)
	return !slices.ContainsFunc(rest, func(part Interval) bool {
		return (!in.Bounded || part.From < in.To) && (!part.Bounded || part.To > in.From)
	})
}

// TestIndexBecomesNarrowAgain sees that blocks which were made larger for lack of memory become small again when what
// took it is gone, once, and that what is too wide is looked at anew.
func TestIndexBecomesNarrowAgain(t *testing.T) {
	r := &trial{t: t, random: rand.New(rand.NewPCG(1, 4)), disk: disk{}, names: 1 << 30, rev: 1}
	const keys, budget = 20_000, 16 << 10
	for i := range keys {
		r.rev++
		r.disk[fmt.Sprintf("%08x", i*7919%keys)] = []int64{r.rev}
	}
	r.x = New(r.rev, budget)
	r.compact = r.rev
	for range 100 {
		if s, ok := r.x.Begin(); ok {
			r.look(s, r.compact)
			r.x.Finish(s)
		}
		r.x.Fit()
	}
	wide := r.x.limits.blockKeys
	if wide < 4*defaultLimits.blockKeys {
		t.Fatalf("blocks of %d keys: the test shows nothing", wide)
	}
	if r.x.Narrow(); r.x.limits.blockKeys != wide || len(r.x.wide) > 0 {
		t.Error("blocks became small without memory for it")
	}
	var changes []Change
	left := keys / 16
	for _, key := range r.disk.keys(Interval{}, r.rev)[left:] {
		r.rev++
		r.disk[key] = append(r.disk[key], r.rev)
		changes = append(changes, Change{Key: key, Revision: r.rev, Flip: true})
	}
	r.x.Apply(r.rev, changes)
	r.compact = r.rev
	for key, flips := range r.disk {
		if len(flips) == 2 {
			delete(r.disk, key) // compacted
		}
	}
	r.x.Forget(r.compact)
	r.x.Narrow()
	if r.x.limits.blockKeys != defaultLimits.blockKeys {
		t.Errorf("blocks of %d keys, and memory for such of %d", r.x.limits.blockKeys, defaultLimits.blockKeys)
	}
	r.settle()
	r.check()
	for _, g := range r.x.groups {
		for _, b := range g.blocks {
			if b.keys > wideFactor*defaultLimits.blockKeys {
				t.Errorf("a block of %d keys", b.keys)
			}
		}
	}
	if r.x.Bytes() > budget {
		t.Errorf("%d bytes, budget %d", r.x.Bytes(), budget)
	}
}
