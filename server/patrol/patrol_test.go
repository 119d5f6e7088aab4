package patrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/server/verify"
)

const (
	every = time.Minute // the period of these tests
	keys  = 100
)

// ship is a fleet of stores that apply the same history, and a patrol that compares them.
type ship struct {
	t       *testing.T
	members []Member
	crew    map[string]*sailor
	patrol  *Patrol
	mu      sync.Mutex
	leads   bool
	term    uint64   // in which it does
	moves   bool     // to the next one when an alarm is about to be raised
	void    int      // alarms of a tenure that was over
	wrong   []string // about whom an alarm is raised
	unsure  []string
}

// sailor is one node.
type sailor struct {
	*kv.Store
	at       replication.Metadata
	answerer *Answerer
	old, off bool
	history  string
	before   func(q string) // an answer; may be nil
}

// Digest implements verify.Store.
func (n *sailor) Digest(ctx context.Context, q mvcc.Asked, part func(mvcc.Part) bool) error {
	return kv.Digest(ctx, n.Store, q, part)
}

// sail runs body in virtual time.
func sail(t *testing.T, names []string, body func(t *testing.T, s *ship)) {
	virtual.Test(t, func(t *testing.T) {
		s := &ship{t: t, members: fleetOf(names...), crew: map[string]*sailor{}, leads: true, term: 1}
		for _, m := range s.members {
			store, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", Logger: slog.New(slog.DiscardHandler)})
			if err == nil {
				_, err = store.Load()
			}
			if err != nil {
				t.Fatal(err)
			}
			n := &sailor{Store: store, at: replication.Metadata{Epoch: 1}}
			n.answerer = NewAnswerer(AnswererConfig{
				Store: n, BytesPerSecond: 1 << 20, Clock: clock.Unsuspended,
				Stand: func() (verify.Standing, error) {
					s.mu.Lock()
					defer s.mu.Unlock()
					return verify.Standing{Name: m.Name, Revision: n.Revision(), Compact: n.CompactRevision(),
						Position: uint64(n.at.Position), History: n.history}, nil
				},
				Beside: func(ctx context.Context, _ *verify.Wait) (*verify.Beside, error) {
					b, err := kv.DigestBeside(ctx, n.Store)
					return &verify.Beside{Node: m.Name, Epoch: uint64(b.Epoch), Since: uint64(b.Since),
						At: uint64(b.At), Leases: b.Leases, LeaseSum: b.LeaseSum[:], UserSum: b.UserSum[:],
						AlarmSum: b.AlarmSum[:], Revision: b.Revision, Compact: b.Compact,
						Settled: uint64(b.Settled)}, err
				},
			})
			s.crew[m.Name] = n
		}
		s.patrol = New(Config{
			Every: every, BytesPerSecond: 1 << 20, Tenure: s.tenure, Members: func() []Member { return s.members },
			Unheard: func() []string { return nil }, Ask: s.ask, Raise: s.raise, Aside: s.aside,
			Clock: clock.Unsuspended, Logger: slog.New(slog.DiscardHandler),
			History: func() string { return "true" },
		})
		var first [][]byte
		for i := range keys {
			first = append(first, put(key(i), fmt.Sprint("value ", i)))
		}
		s.all(first...)
		s.all(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 60}))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.patrol.Run(ctx) })
		body(t, s)
		cancel()
		running.Wait()
		for _, n := range s.crew {
			n.Close()
		}
	})
}

func (s *ship) tenure() (t replication.Tenure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leads {
		t = replication.Tenure{Term: s.term, Epoch: 1}
	}
	return t
}

func (s *ship) ask(ctx context.Context, addr string, request []byte) ([]byte, error) {
	s.mu.Lock()
	n := s.crew[addr]
	old, off, before := n.old, n.off, n.before
	s.mu.Unlock()
	switch {
	case off:
		return nil, errors.New("it does not answer")
	case old:
		return nil, ErrUnknown
	case before != nil:
		before(string(request))
	}
	return n.answerer.Answer(ctx, request)
}

func (s *ship) raise(_ context.Context, in replication.Tenure, wrong, unsure []Member) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moves {
		s.term++
		s.moves = false
	}
	if in.Term != s.term {
		s.void++
		return replication.ErrNotLeader
	}
	for _, m := range wrong {
		s.wrong = append(s.wrong, m.Name)
	}
	for _, m := range unsure {
		if !slices.Contains(s.unsure, m.Name) {
			s.unsure = append(s.unsure, m.Name)
		}
	}
	return nil
}

func (s *ship) aside(m Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.wrong, m.Name)
}

// apply applies commands on one node.
func (s *ship) apply(name string, commands ...[]byte) {
	s.t.Helper()
	n := s.crew[name]
	s.mu.Lock()
	defer s.mu.Unlock()
	first := n.at.Position + 1
	n.at.Position += replication.Position(len(commands))
	n.at.AppliedIndex++
	s.put(n, first, commands...)
}

// again applies a command that was applied once more, at the position where it is.
func (s *ship) again(name string, c []byte) {
	s.t.Helper()
	n := s.crew[name]
	s.put(n, n.at.Position, c)
}

func (s *ship) put(n *sailor, first replication.Position, commands ...[]byte) {
	s.t.Helper()
	meta := n.at
	b := &replication.Batch{First: first, Metadata: &meta}
	for _, c := range commands {
		b.Commands = append(b.Commands, replication.Command{Data: slices.Clone(c)})
	}
	if _, err := n.Apply(b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *ship) all(commands ...[]byte) {
	s.t.Helper()
	for _, m := range s.members {
		s.apply(m.Name, commands...)
	}
}

// hook has f called before each answer of a node.
func (s *ship) hook(name string, f func(request string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crew[name].before = f
}

// but applies one command on all nodes but one, and another one there.
func (s *ship) but(name string, c, there []byte) {
	s.t.Helper()
	for _, m := range s.members {
		if m.Name == name {
			s.apply(m.Name, there)
		} else {
			s.apply(m.Name, c)
		}
	}
}

// found waits for one period and returns who was found.
func (s *ship) found() (wrong, unsure string) {
	time.Sleep(every + 30*time.Second) // a round, and to look again
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.wrong)
	slices.Sort(s.unsure)
	return strings.Join(s.wrong, " "), strings.Join(s.unsure, " ")
}

func key(i int) string { return fmt.Sprintf("/key/%06d", i) }

func put(key, value string) []byte {
	return command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

func remove(key string) []byte {
	return command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte(key)})
}

var six = []string{"us-1", "us-2", "us-3", "eu-1", "eu-2", "eu-3"}

// planted are divergences of one node.
var planted = map[string]func(s *ship, name string){
	"a bit in a value": func(s *ship, name string) { s.but(name, put(key(7), "x"), put(key(7), "y")) },
	"a key is missing": func(s *ship, name string) {
		s.but(name, put(key(7), "x"), remove("/nothing"))
		s.but(name, remove("/nothing"), put("/another", "x")) // of one revision again
	},
	"a frame applied twice": func(s *ship, name string) {
		s.all(put(key(7), "x"))
		s.again(name, put(key(7), "x"))
	},
	"a lease is missing": func(s *ship, name string) {
		s.but(name, command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 9, TTL: 60}), remove("/nothing"))
	},
}

// Each planted divergence of one node is found within a period, in the primary region and in a secondary.
func TestPlantedDivergenceIsFound(t *testing.T) {
	for what, plant := range planted {
		for _, where := range []string{"us-2", "eu-3"} {
			t.Run(what+" on "+where, func(t *testing.T) {
				sail(t, six, func(t *testing.T, s *ship) {
					if wrong, unsure := s.found(); wrong+unsure != "" {
						t.Fatalf("nothing is planted, found %s %s", wrong, unsure)
					}
					plant(s, where)
					if wrong, unsure := s.found(); wrong != where || unsure != "" {
						t.Errorf("found %q, unsure %q", wrong, unsure)
					}
					r := s.patrol.Report()
					if r.Differences != 1 || len(r.Findings) != 1 || r.Findings[0].Untold != "" {
						t.Errorf("%+v", r)
					}
				})
			})
		}
	}
}

// Of two nodes that differ nobody knows who is right, and it is told as that.
func TestATieIsUnsure(t *testing.T) {
	for what, plant := range planted {
		t.Run(what, func(t *testing.T) {
			sail(t, []string{"us-1", "eu-1"}, func(t *testing.T, s *ship) {
				plant(s, "eu-1")
				if wrong, unsure := s.found(); wrong != "" || unsure != "eu-1 us-1" {
					t.Errorf("found %q, unsure %q", wrong, unsure)
				}
				s.found()
				if r := s.patrol.Report(); r.Differences != 1 {
					t.Errorf("it is told %d times", r.Differences)
				}
			})
		})
	}
}

// Two nodes that differ, each otherwise, are both found; a third, behind them, is not said to be wrong: its region
// would not be able to lead without both.
func TestTwoThatDifferAreFound(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.but("us-2", put(key(7), "x"), put(key(7), "y"))
		s.but("eu-1", put(key(7), "z"), put(key(7), "a"))
		s.but("eu-3", put(key(90), "z"), put(key(90), "a"))
		if wrong, unsure := s.found(); wrong != "eu-1 us-2" || unsure != "eu-2 eu-3 us-1 us-3" {
			t.Errorf("found %q, unsure %q", wrong, unsure)
		}
	})
}

// Nothing that goes on in a fleet that is well is a difference: writes, compactions, nodes that are behind or away,
// and a primary that moves.
func TestNothingIsMadeUp(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		written := 0
		var pending [][]byte
		var writing sync.Mutex
		write := func() {
			writing.Lock()
			defer writing.Unlock()
			written++
			c := put(key(written%keys), fmt.Sprint("later ", written))
			switch {
			case written%50 == 0:
				c = command.EncodeCompaction(&pb.CompactionRequest{Revision: s.crew["us-1"].Revision() - 10})
			case written%7 == 0:
				c = command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: int64(100 + written), TTL: 60})
			}
			for _, m := range s.members {
				if m.Name != "eu-3" {
					s.apply(m.Name, c)
				}
			}
			if pending = append(pending, c); len(pending) > 120 { // eu-3 is that far behind
				s.apply("eu-3", pending[0])
				pending = pending[1:]
			}
		}
		for _, m := range s.members {
			s.hook(m.Name, func(string) { write() })
		}
		for i := range 200 {
			time.Sleep(time.Second)
			write()
			s.mu.Lock()
			s.crew["us-3"].off = i%40 > 20
			s.leads = i < 120 || i > 130
			s.mu.Unlock()
		}
		s.mu.Lock()
		wrong, unsure := s.wrong, s.unsure
		s.mu.Unlock()
		r := s.patrol.Report()
		if len(wrong)+len(unsure) > 0 || r.Differences > 0 || r.Parts == 0 {
			t.Errorf("wrong %v, unsure %v: %+v", wrong, unsure, r)
		}
	})
}

// A difference that is gone when it is looked at again was none.
func TestWhatIsGoneIsNotTold(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.but("us-2", put(key(7), "x"), put(key(7), "y"))
		var asked atomic.Int32
		s.hook("us-2", func(string) {
			// The first answer that sums is of something else; what follows is compacted.
			if asked.Add(1) == 3 {
				rev := s.crew["us-1"].Revision()
				s.all(put(key(7), "z"))
				s.all(command.EncodeCompaction(&pb.CompactionRequest{Revision: rev + 1}))
			}
		})
		if wrong, unsure := s.found(); wrong+unsure != "" || s.patrol.Report().Differences != 0 {
			t.Errorf("found %q, unsure %q: %+v", wrong, unsure, s.patrol.Report())
		}
	})
}

// Nodes that do not answer, or not this question, are told as not compared, and stay as old as they are; with a node of
// before in the fleet no alarm is raised, and what differs is told all the same.
func TestWhoIsNotCompared(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.found()
		first := s.patrol.Report()
		for _, n := range first.Nodes {
			if n.At.IsZero() || n.Why != "" {
				t.Errorf("%+v", n)
			}
		}
		s.mu.Lock()
		s.crew["us-3"].off, s.crew["eu-1"].old = true, true
		s.mu.Unlock()
		s.but("eu-2", put(key(7), "x"), put(key(7), "y"))
		time.Sleep(2 * every)
		if wrong, unsure := s.found(); wrong+unsure != "" {
			t.Errorf("an alarm is raised that eu-1 does not know: %s %s", wrong, unsure)
		}
		r := s.patrol.Report()
		if len(r.Findings) == 0 || r.Findings[0].Untold == "" || r.Differences > 2 {
			t.Errorf("%+v", r)
		}
		for i, n := range r.Nodes {
			away := n.Node == "us-3" || n.Node == "eu-1"
			if (n.Why != "") != away || n.At.Equal(first.Nodes[i].At) != away {
				t.Errorf("%+v, was %+v", n, first.Nodes[i])
			}
		}
		if oldest := r.Oldest(); !oldest["us"].Equal(first.Nodes[5].At) {
			t.Errorf("%v", oldest)
		}
		s.mu.Lock()
		s.crew["eu-1"].old = false
		s.mu.Unlock()
		if wrong, _ := s.found(); wrong != "eu-2" {
			t.Errorf("found %q once all nodes know the alarm", wrong)
		}
		for _, f := range s.patrol.Report().Findings {
			if f.Untold != "" {
				t.Errorf("there is an alarm, and it is told that none is: %+v", f)
			}
		}
	})
}

// What was found in one tenure is raised in no other, also where the same node leads in that: it is found again then.
func TestWhatWasFoundInAnotherTenureIsVoid(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.found()
		planted["a bit in a value"](s, "us-2")
		s.mu.Lock()
		s.moves = true
		s.mu.Unlock()
		if wrong, unsure := s.found(); wrong != "us-2" || unsure != "" || s.void != 1 {
			t.Errorf("found %q, unsure %q, after %d that were void", wrong, unsure, s.void)
		}
	})
}

// Nobody compares but the node that leads, and nothing where the period is 0.
func TestOnlyWhoLeadsCompares(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.mu.Lock()
		s.leads = false
		s.mu.Unlock()
		time.Sleep(every)
		var asked atomic.Bool
		s.hook("us-2", func(string) { asked.Store(true) })
		time.Sleep(5 * every)
		if asked.Load() {
			t.Error("asked without leading")
		}
		if r := s.patrol.Report(); r != nil && r.Compares {
			t.Errorf("%+v", r)
		}
	})
	off := New(Config{})
	off.Run(t.Context()) // returns
}

// A node reads no more than its settings say, whoever asks how often.
func TestAnswersArePaced(t *testing.T) {
	sail(t, []string{"us-1"}, func(t *testing.T, s *ship) {
		s.apply("us-1", put("/large", strings.Repeat("v", 3<<20)))
		began := time.Now()
		ask := Ask(s.ask)
		for range 5 {
			r, err := ask.put(t.Context(), "us-1", inquiry{Digest: &verify.Question{
				Revision: s.crew["us-1"].Revision(), Ranges: []verify.Range{{From: []byte("/large")}}, Every: 10,
			}})
			if err != nil || r.Digest.Parts[0].Bytes < 3<<20 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		if took := time.Since(began); took < 12*time.Second { // the last one is not paid
			t.Errorf("15 MiB at 1 MiB a second in %v", took)
		}
	})
}
