package secondary

import (
	"context"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/progress"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// slow is a shelf that looks through what an earlier transfer left, and gives ten bytes a second behind that.
type slow struct {
	shelf
	had, total int64
}

func (s *slow) Fetch(
	ctx context.Context, addr string, e timeline.Epoch, term uint64, fits fitting, progress func(checkpoint.Progress),
) (succession.Copy, error) {
	time.Sleep(5 * time.Second)
	progress(checkpoint.Progress{Stage: checkpoint.Preparing, DoneBytes: s.total / 2})
	time.Sleep(5 * time.Second)
	if c := s.of(addr, e); fits(s.regions[addr], &c) != nil {
		return succession.Copy{}, errDown
	}
	progress(checkpoint.Progress{Stage: checkpoint.Checking, DoneBytes: s.had, TotalBytes: s.total})
	for done := s.had; done <= s.total; done += 10 {
		time.Sleep(time.Second)
		progress(checkpoint.Progress{DoneBytes: done, TotalBytes: s.total})
	}
	return s.shelf.Fetch(ctx, addr, e, term, fits, progress)
}

// Each phase of a bootstrap is told with what is known of it, and no more.
func TestABootstrapTellsHowFarItIs(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := &slow{had: 900, total: 1000}
		s.regions, s.hung = map[string]string{"eu-1": "eu"}, []string{"us-2"}
		f := testFollower(&s.shelf)
		f.config.Copies = s
		defer f.config.Life.Close()
		run := func(e succession.Effect) (ended chan struct{}) {
			e.Term, e.Source = 7, "eu"
			ended = make(chan struct{})
			go func() {
				f.Run(t.Context(), e)
				close(ended)
			}()
			return ended
		}
		at := func(d time.Duration) *progress.Bootstrap {
			time.Sleep(d)
			following := f.Following()
			if following == nil || following.Bootstrap == nil || following.Bootstrap.Source != "eu" {
				t.Fatalf("follows %+v", following)
			}
			return following.Bootstrap
		}
		fetched := run(succession.Effect{Do: succession.Fetch})
		if b := at(time.Second); b.Phase != progress.Asking || b.From != "eu-1" || b.DoneBytes != nil {
			t.Errorf("after a second %+v", b)
		}
		if b := at(5 * time.Second); b.Phase != progress.Making || *b.DoneBytes != 500 || b.TotalBytes != nil {
			t.Errorf("while the source makes a copy %+v", b)
		}
		if b := at(4500 * time.Millisecond); b.Phase != progress.Checking || *b.DoneBytes != 900 {
			t.Errorf("while it is looked through %+v", b)
		}
		b := at(4 * time.Second) // eleven seconds after the first question 900 bytes were here
		if b.Phase != progress.Fetching || *b.DoneBytes != 930 || *b.TotalBytes != 1000 {
			t.Errorf("while it comes %+v", b)
		}
		if b.LeftSeconds == nil || *b.LeftSeconds < 7 || *b.LeftSeconds > 10 {
			t.Errorf("70 bytes at 10 a second take 7 s; told of %v", *b.LeftSeconds)
		}
		<-fetched
		staged := run(succession.Effect{Do: succession.Stage, Copy: "x"})
		b = at(time.Millisecond) // us-3 was quick, us-2 hangs
		if b.Phase != progress.Staging || b.DoneBytes != nil || b.Have != 2 || b.Needed != 2 {
			t.Errorf("while siblings take it %+v", b)
		}
		<-staged
		if b := at(time.Second); b.Phase != progress.Installing || b.DoneBytes != nil || b.LeftSeconds != nil {
			t.Errorf("while it is installed %+v", b)
		}
	})
}

// making is a shelf whose source makes a copy for a minute, and says how far it is.
type making struct {
	shelf
	began time.Time
}

func (m *making) Fetch(
	ctx context.Context, addr string, e timeline.Epoch, term uint64, fits fitting, progress func(checkpoint.Progress),
) (succession.Copy, error) {
	m.began = time.Now()
	for i := range 30 {
		time.Sleep(2 * time.Second)
		progress(checkpoint.Progress{Stage: checkpoint.Preparing, DoneBytes: int64(1000 + 20*i)}) // for others, too
	}
	return m.shelf.Fetch(ctx, addr, e, term, fits, progress)
}

func (m *making) Making(_ context.Context, addr string) (done, total int64, err error) {
	if addr != "eu-1" {
		return 0, 0, errDown
	}
	return int64(10 * time.Since(m.began).Seconds()), 600, nil
}

// How far a copy is that is being made is told as the node tells that makes it, with the time that is left.
func TestHowFarACopyIsThatIsMadeTheSourceSays(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		m := &making{shelf: shelf{regions: map[string]string{"eu-1": "eu"}}}
		f := testFollower(&m.shelf)
		f.config.Copies = m
		defer f.config.Life.Close()
		ended := make(chan struct{})
		go func() {
			f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
			close(ended)
		}()
		time.Sleep(3 * time.Second)
		if b := f.Following().Bootstrap; b.Phase != progress.Making || *b.DoneBytes != 1000 || b.TotalBytes != nil {
			t.Errorf("before it was asked: %+v", b)
		}
		time.Sleep(28 * time.Second)
		b := f.Following().Bootstrap
		if b.Phase != progress.Making || b.TotalBytes == nil || *b.DoneBytes > 310 || *b.DoneBytes < 240 ||
			*b.TotalBytes != 600 || b.LeftSeconds == nil || *b.LeftSeconds < 29 {
			t.Errorf("after 31 of 60 s: %+v", b)
		}
		<-ended
	})
}
