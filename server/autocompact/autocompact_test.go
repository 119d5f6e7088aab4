package autocompact

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		mode, retention string
		want            Policy
		refused         string
	}{
		{"periodic", "0", Policy{}, ""},
		{"", "", Policy{}, ""},
		{"periodic", "8", Policy{Period: 8 * time.Hour}, ""},
		{"", "5m", Policy{Period: 5 * time.Minute}, ""},
		{"periodic", "0s", Policy{}, ""},
		{"revision", "1000", Policy{Revisions: 1000}, ""},
		{"revision", "0", Policy{}, ""},
		{"revision", "5m", Policy{}, `"5m" is no number of revisions`},
		{"revision", "-1", Policy{}, `"-1" is no number of revisions`},
		{"periodic", "-1h", Policy{}, `"-1h" is out of bounds: 0, or 1s to 8784h`},
		{"periodic", "1ms", Policy{}, `"1ms" is out of bounds`},
		{"periodic", "99999999999999", Policy{}, `"99999999999999" is neither a duration`},
		{"periodic", "9000h", Policy{}, `"9000h" is out of bounds`},
		{"periodic", "soon", Policy{}, `"soon" is neither a duration such as 30m nor a number of hours`},
		{"always", "1", Policy{}, `mode "always" is unknown: use periodic or revision`},
	} {
		got, err := Parse(test.mode, test.retention)
		if got != test.want || (err == nil) != (test.refused == "") {
			t.Errorf("%s %s: %+v, %v", test.mode, test.retention, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s %s: %v", test.mode, test.retention, err)
		}
	}
}

// fleet writes one revision a second, and takes down what was compacted when.
type fleet struct {
	began time.Time

	mu        sync.Mutex // guards what follows
	elsewhere bool
	fail      error
	compacted []int64 // revision, at its second
	at        []time.Duration
	log       bytes.Buffer
}

// with has g read or change what the keeper sees and does.
func (f *fleet) with(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
}

// Write is that of the log.
func (f *fleet) Write(p []byte) (n int, err error) {
	f.with(func() { n, err = f.log.Write(p) })
	return n, err
}

func (f *fleet) revision() int64 { return int64(time.Since(f.began)/time.Second) + 2 }

func (f *fleet) config(p Policy) Config {
	return Config{
		Policy: func() Policy { return p }, Revision: f.revision,
		Ago: func(n int64) int64 { return max(f.revision()-n, 0) },
		Compact: func(_ context.Context, revision int64) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.elsewhere || f.fail != nil {
				return errors.Join(f.fail, map[bool]error{true: ErrElsewhere}[f.elsewhere])
			}
			f.compacted, f.at = append(f.compacted, revision), append(f.at, time.Since(f.began))
			return nil
		},
		Clock: clock.Unsuspended, Logger: slog.New(slog.NewTextHandler(f, nil)),
	}
}

// kept runs a keeper in virtual time beside f.
func kept(t *testing.T, p Policy, f func(t *testing.T, f *fleet)) {
	virtual.Test(t, func(t *testing.T) {
		one := &fleet{began: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Run(ctx, one.config(p)) }()
		f(t, one)
		cancel()
		<-done
	})
}

// Nothing younger than the retention goes (C1), and what is older goes within it, or within an hour (C2).
func TestPeriodic(t *testing.T) {
	for _, test := range []struct {
		period, run time.Duration
		want        []time.Duration
	}{
		{5 * time.Minute, 16 * time.Minute, []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute}},
		{24 * time.Hour, 26*time.Hour + time.Minute, []time.Duration{24 * time.Hour, 25 * time.Hour, 26 * time.Hour}},
	} {
		kept(t, Policy{Period: test.period}, func(t *testing.T, f *fleet) {
			time.Sleep(test.run)
			virtual.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if !slices.Equal(f.at, test.want) {
				t.Errorf("%s: compacted at %v, want %v", test.period, f.at, test.want)
			}
			for i, revision := range f.compacted {
				if written := time.Duration(revision-2) * time.Second; written != f.at[i]-test.period {
					t.Errorf("%s: revision %d, of %s, compacted at %s", test.period, revision, written, f.at[i])
				}
			}
		})
	}
}

func TestRevisions(t *testing.T) {
	kept(t, Policy{Revisions: 400}, func(t *testing.T, f *fleet) {
		time.Sleep(16 * time.Minute)
		virtual.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if want := []int64{202, 502}; !slices.Equal(f.compacted, want) { // of 302 revisions all are kept
			t.Errorf("compacted %v, want %v", f.compacted, want)
		}
	})
}

// A node that takes the writes since a moment ago goes on where the one before was (C3), and what failed is done at the
// next look.
func TestGoesOnWhereTheOtherWas(t *testing.T) {
	kept(t, Policy{Period: 10 * time.Minute}, func(t *testing.T, f *fleet) {
		f.with(func() { f.elsewhere = true })
		time.Sleep(time.Hour + time.Second)
		virtual.Wait()
		f.with(func() {
			if len(f.compacted) > 0 || f.log.Len() > 0 {
				t.Errorf("compacted %v elsewhere: %s", f.compacted, &f.log)
			}
			f.elsewhere, f.fail = false, errors.New("no majority")
		})
		time.Sleep(time.Minute)
		virtual.Wait()
		f.with(func() {
			if !strings.Contains(f.log.String(), "no majority") {
				t.Errorf("log %q", &f.log)
			}
			f.fail = nil
		})
		time.Sleep(time.Minute)
		virtual.Wait()
		f.with(func() {
			if want := []int64{52*60 + 2}; !slices.Equal(f.compacted, want) {
				t.Errorf("compacted %v, want %v", f.compacted, want)
			}
		})
	})
}
