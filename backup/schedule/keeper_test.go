package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// place is a store in memory that can fail.
type place struct {
	store.Store // nil: what is not below is not called

	mu      sync.Mutex
	objects map[string]string
	fails   map[string]error // by what is done
	tears   bool
	reads   int    // how often something was read
	halves  string // in the name of what is given back in part
	differs string // a node that was found to differ
	where   string
	still   bool // to look takes no time
	far     *way // nil: what is asked for is there at once
	region
}

func (p *place) fail(doing string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = map[string]error{doing: err}
}

func (p *place) Put(_ context.Context, name string, r io.Reader) error {
	text, err := io.ReadAll(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err = errors.Join(err, p.fails["put"]); err == nil {
		p.objects[name] = string(text)
		if p.tears {
			p.objects[name] = strings.Repeat("torn", 136)
		}
	}
	return err
}

func (p *place) Get(_ context.Context, name string) (io.ReadCloser, error) {
	if p.far != nil {
		p.far.take(name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if p.halves != "" && strings.Contains(name, p.halves) {
		half := strings.NewReader(p.objects[name][:300])
		return io.NopCloser(io.MultiReader(half, iotest.ErrReader(errors.New("the disk burns")))), nil
	}
	if err := p.fails["cut"]; err != nil {
		return io.NopCloser(io.MultiReader(strings.NewReader(whole), iotest.ErrReader(err))), nil
	}
	return io.NopCloser(strings.NewReader(p.objects[name])), p.fails["get"]
}

func (p *place) Walk(_ context.Context, prefix string, visit func(store.Object) error) error {
	if !p.still {
		time.Sleep(time.Millisecond) // to look takes time
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, text := range p.objects {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := visit(store.Object{Name: name, Size: int64(len(text))}); err != nil {
			return err
		}
	}
	return p.fails["list"]
}

func (p *place) List(ctx context.Context, prefix string) (list []store.Object, err error) {
	return list, p.Walk(ctx, prefix, func(o store.Object) error {
		list = append(list, o)
		return nil
	})
}

func (p *place) Delete(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails["delete"] == nil {
		delete(p.objects, name)
	}
	return p.fails["delete"]
}

func (p *place) String() string { return "memory" + p.where }

func (p *place) names() string {
	p.mu.Lock()
	all := &place{objects: maps.Clone(p.objects), still: true}
	p.mu.Unlock()
	taken, _ := Taken(context.Background(), all, "f")
	var list []string
	for _, b := range taken {
		list = append(list, b.At.Format("02T15:04:05")+b.Node)
	}
	return strings.Join(list, " ")
}

// node runs a keeper.
type node struct {
	*Keeper
	mu   sync.Mutex
	mine bool
	log  bytes.Buffer
	stop func()

	kept   []int // how many were left, each time that Kept was told
	forget error // the answer of Kept
}

func (n *node) takes(mine bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mine = mine
}

func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

func (n *node) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.log.Reset()
	return n.log.String()
}

const whole = "whole"

// content is that of a backup which is whole, and does not say where it is.
func content() string { return whole + strings.Repeat("x", 544-len(whole)) }

func run(t *testing.T, p *place, name string, plan Plan) *node {
	return runAfter(t, nil, p, name, plan)
}

// runAfter runs a keeper that comes after another one, which is over.
func runAfter(t *testing.T, former *Keeper, p *place, name string, plan Plan) *node {
	return runAs(t, former, p, name, plan, "")
}

// runAs is runAfter of a node with a history.
func runAs(t *testing.T, former *Keeper, p *place, name string, plan Plan, history string) *node {
	n := &node{mine: true}
	n.Keeper = New(Config{
		Former: former,
		Plan:   plan, Store: p, Fleet: "f", Region: "us", Node: name,
		Mine: func() bool { n.mu.Lock(); defer n.mu.Unlock(); return n.mine },
		Here: func() Place { return p.here(history) },
		Content: func(_ context.Context, returns []Return) (io.ReadCloser, error) {
			at := p.here(history)
			at.Returns = returns
			return io.NopCloser(strings.NewReader(contentAt(at))), nil
		},
		Where:   whereIs,
		Differs: func(node string) bool { p.mu.Lock(); defer p.mu.Unlock(); return p.differs == node },
		Check: func(r io.Reader, size int64) error {
			text, err := io.ReadAll(r)
			if err != nil { // as a content says it that breaks off
				return fmt.Errorf("%w: %w", backup.ErrBroken, err)
			}
			broken := !strings.HasPrefix(string(text), whole) || strings.Contains(string(text), "torn")
			if int64(len(text)) != size || broken {
				return fmt.Errorf("%w: torn", backup.ErrBroken)
			}
			return nil
		},
		Kept: func(_ context.Context, kept []Backup) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.kept = append(n.kept, len(kept))
			return n.forget
		},
		Clock: clock.Unsuspended, Logger: slog.New(slog.NewTextHandler(n, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	n.stop = func() { cancel(); <-done }
	return n
}

// A bubble begins at midnight of 2000-01-01, UTC.
func TestOneInEachSlot(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{"fleet@f/notes": "kept", "fleet@g/snapshot": "kept"}}
		n := run(t, p, "-a", Plan{Every: 6 * time.Hour, Keep: 3})
		time.Sleep(25 * time.Hour)
		virtual.Wait()
		if got, want := p.names(), "01T12:00:00-a 01T18:00:00-a 02T00:00:00-a"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if len(p.objects) != 5 {
			t.Errorf("%v: want what is of others too", p.objects)
		}
		n.stop() // it is down for a day, and makes up for one
		time.Sleep(24 * time.Hour)
		n = run(t, p, "-b", Plan{Every: 6 * time.Hour, Keep: 3})
		defer n.stop()
		time.Sleep(time.Hour)
		virtual.Wait()
		if got, want := p.names(), "01T18:00:00-a 02T00:00:00-a 03T01:00:00-b"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		r := n.Report()
		if age, known := r.Age(time.Now()); !known || age != time.Hour || r.Count != 3 || r.Failure != "" ||
			r.Done != 1 ||
			r.LastBytes != 544 || !r.Due.Equal(time.Date(2000, 1, 3, 6, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v, %v", r, age)
		}
		if log := n.said(); strings.Count(log, "\n") != 3 || !strings.Contains(log, "backup saved") ||
			!strings.Contains(log, "backup deleted") {
			t.Errorf("the log says\n%s", log)
		}
	})
}

// What is left is told when backups were deleted, also before a failure, until that is heard; and not for a backup that
// was saved beside others, or as the first one of a place.
func TestWhatIsLeftIsToldOnceSomeWent(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 2})
		defer n.stop()
		told := func(forget error) []int {
			n.mu.Lock()
			defer n.mu.Unlock()
			defer func() { n.kept, n.forget = nil, forget }()
			return n.kept
		}
		time.Sleep(90 * time.Minute)
		if got := told(errors.New("the archive burns")); len(got) != 0 {
			t.Errorf("nothing went, and it was told of %d left", got)
		}
		time.Sleep(31 * time.Minute) // the third, and the first goes; what is left is not heard of, and told again
		if r := n.Report(); r.Count != 2 || !strings.Contains(r.Failure, "the archive burns") {
			t.Errorf("%+v", r)
		}
		if got := told(nil); len(got) != 1 || got[0] != 2 {
			t.Errorf("told of %d left", got)
		}
		time.Sleep(5 * time.Minute)
		if got := told(nil); len(got) != 1 || n.Report().Failure != "" {
			t.Errorf("told of %d left, %+v", got, n.Report())
		}
		p.fail("delete", errors.New("the disk burns"))
		time.Sleep(time.Hour)
		if got := told(nil); len(got) != 0 {
			t.Errorf("nothing could be deleted, and it was told of %d left", got)
		}
	})
}

// Under other settings counts go on, and, in the same place, what failed is told and what is to go goes, also if
// settings changed twice before anybody came to run. Another place is another matter.
func TestAKeeperGoesOnWithWhatTheOneBeforeKnew(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		for i := range 3 {
			when := time.Now().Add(time.Duration(i-3) * time.Hour)
			p.objects[Name("f", "us", "-old", "", when)] = contentAt(p.here(""))
		}
		p.fail("delete", errors.New("the disk burns"))
		plan := Plan{Every: 24 * time.Hour, Keep: 1}
		first := run(t, p, "-a", plan)
		time.Sleep(8 * time.Minute)
		first.stop()
		was := first.Report()
		if was.Done != 1 || was.Failed != 4 || was.Failure == "" || was.Count != 4 {
			t.Fatalf("%+v", was)
		}
		another := &place{objects: map[string]string{}, where: ", elsewhere"}
		elsewhere := runAfter(t, first.Keeper, another, "-b", plan)
		if r := elsewhere.Report(); r.Done < 1 || r.Failed != 4 || r.Failure != "" {
			t.Errorf("in another place: %+v", r)
		}
		elsewhere.stop()
		skipped := New(Config{Former: first.Keeper, Store: p, Region: "us", Clock: clock.Unsuspended})
		if r := skipped.Report(); r.Failed != 4 || r.Failure != was.Failure || !r.Mine || r.Count != 4 {
			t.Errorf("before it runs: %+v", r)
		}
		p.fail("", nil)
		n := runAfter(t, skipped, p, "-c", Plan{Every: 24 * time.Hour, Keep: 2})
		defer n.stop()
		time.Sleep(time.Minute)
		virtual.Wait()
		if r := n.Report(); r.Failure != "" || r.Count != 2 || r.Failed != 4 || len(p.objects) != 2 {
			t.Errorf("what was to go is there: %+v", r)
		}
		if !n.Report().Due.After(time.Now()) {
			t.Errorf("it does not know what is due: %+v", n.Report())
		}
	})
}

// A region that is cut off, or was given up, goes on with what it has: that makes no backup of another region go, nor
// left out.
func TestAnotherRegionGoesOn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		for hour := range 48 {
			at := time.Now().Add(time.Duration(hour)*time.Hour - time.Minute)
			p.objects[Name("f", "eu", "-old", "", at)] = content()
		}
		n := run(t, p, "-a", Plan{Every: 6 * time.Hour, Keep: 3})
		defer n.stop()
		time.Sleep(24*time.Hour + time.Minute)
		virtual.Wait()
		if r := n.Report(); r.Done != 5 || r.Count != 3 || r.Others != 48 || r.Newest.Region != "us" ||
			len(p.objects) != 51 {
			t.Errorf("%+v, and %d objects", r, len(p.objects))
		}
	})
}

// A region that was formed anew, or a node that did that by itself, has another history under the same name: what it
// takes neither stands for a backup of the other one nor makes one go.
func TestAnotherHistoryOfTheRegion(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		of := func(node, history string) *node {
			return runAs(t, nil, p, node, Plan{Every: 6 * time.Hour, Keep: 3}, history)
		}
		first := of("-a", "aaaa")
		time.Sleep(13 * time.Hour)
		first.stop()
		anew := of("-b", "bbbb")
		time.Sleep(48*time.Hour + time.Minute)
		virtual.Wait()
		if r := anew.Report(); r.Count != 3 || r.OtherHistory != 3 || r.Others != 0 || !strings.HasPrefix(p.names(),
			"01T00:00:00-a 01T06:00:00-a 01T12:00:00-a 03T") {
			t.Errorf("%+v, %s", r, p.names())
		}
		first = of("-a", "aaaa") // beside it
		defer first.stop()
		defer anew.stop()
		time.Sleep(time.Minute)
		virtual.Wait()
		if r := first.Report(); r.Done != 1 || r.Count != 3 || r.OtherHistory != 3 || r.Newest.History != "aaaa" {
			t.Errorf("%+v, %s", r, p.names())
		}
		old := "fleet@f/snapshot@20000101T000000Z@us@-old.mimir" // of a version that did not say
		p.mu.Lock()
		p.objects[old] = content()
		p.mu.Unlock()
		time.Sleep(6 * time.Hour)
		virtual.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.objects[old] != "" {
			t.Errorf("what may be of any stays for good: %v", p.objects)
		}
	})
}

// A node that is not the one does nothing and knows nothing; one that becomes it looks what there is.
func TestAnotherNodeTakesOver(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		plan := Plan{Every: time.Hour}
		a, b := run(t, p, "-a", plan), run(t, p, "-b", plan)
		defer a.stop()
		defer b.stop()
		b.takes(false)
		time.Sleep(90 * time.Minute)
		a.takes(false)
		b.takes(true)
		time.Sleep(time.Hour)
		virtual.Wait()
		if got := p.names(); !strings.HasPrefix(got, "01T00:00:00-a") || !strings.Contains(got, "01T01:00:00-a") ||
			!strings.HasSuffix(got, "01T02:00:00-b") {
			t.Error(got)
		}
		if r := a.Report(); r.Mine || !r.Looked.IsZero() || r.Newest != nil {
			t.Errorf("what it knew it still tells: %+v", r)
		}
		a.takes(true) // two at a time
		time.Sleep(2 * time.Hour)
		virtual.Wait()
		if r := b.Report(); r.Failed != 0 || r.Done < 3 {
			t.Errorf("%+v", r)
		}
	})
}

func TestWhatFails(t *testing.T) {
	for _, c := range []struct{ doing, says string }{
		{"put", "the disk burns"}, {"list", "the disk burns"}, {"delete", "cannot be deleted"},
		{"tears", "not whole a moment after"},
	} {
		t.Run(c.doing, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				old := map[string]string{}
				for i := range 3 {
					when := time.Now().Add(time.Duration(i-3) * time.Hour)
					old[Name("f", "us", "-old", "", when)] = content()
				}
				p := &place{objects: old, tears: c.doing == "tears"}
				before := p.names()
				p.fail(c.doing, map[bool]error{true: nil, false: errors.New("the disk burns")}[p.tears])
				n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 1})
				defer n.stop()
				time.Sleep(8 * time.Minute)
				virtual.Wait()
				r := n.Report()
				if !strings.Contains(r.Failure, c.says) || r.Failed != 4 || r.FailedAt.IsZero() ||
					!r.Again.After(r.FailedAt) {
					t.Errorf("%+v", r)
				}
				if got := p.names(); c.doing != "delete" && got != before {
					t.Errorf("there are %s, and were %s", got, before)
				}
				if log := n.said(); strings.Count(log, "backup failed") != 4 {
					t.Errorf("the log says\n%s", log)
				}
				p.mu.Lock()
				p.fails, p.tears = nil, false
				p.mu.Unlock()
				time.Sleep(10 * time.Minute)
				virtual.Wait()
				if r := n.Report(); r.Failure != "" || r.Count != 1 || r.Done != 1 ||
					!strings.HasSuffix(p.names(), "-a") {
					t.Errorf("%+v, %s", r, p.names())
				}
			})
		})
	}
}
