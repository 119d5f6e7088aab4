package replay

import (
	"context"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// ofTail is a command with the contents before and after it in the lost history.
type ofTail struct {
	Command
	before, after map[string]string
}

// draw draws a tail; some of its revocations are expiries.
func (g *generator) draw(lost *history, n int) (all []*ofTail) {
	for len(all) < n {
		c := &ofTail{Command{Position: uint64(len(all) + 1), Op: "op", Request: g.request(lost)}, lost.contents(), nil}
		if q, ok := c.Request.(*pb.LeaseRevokeRequest); ok && g.IntN(2) == 0 {
			if _, _, there := lost.Store.Lease(q.ID); !there {
				continue // only what is there expires
			}
			c.Op = OpExpiry
		}
		lost.apply(c.Request)
		c.after = lost.contents()
		all = append(all, c)
	}
	return all
}

// TestEachCommandDoesWhatItDid: what changes while a command is decided is what it changed in the lost history, and
// only if it says so; and a dry run says the same as the replay after it.
func TestEachCommandDoesWhatItDid(t *testing.T) {
	for seed := range *seeds {
		g := newGenerator(seed, 4)
		lost, today, fork := g.split(t)
		all := g.draw(lost, 18)
		for range g.IntN(4) {
			if q := g.request(today); !grants(q) {
				today.apply(q)
			}
		}
		if g.IntN(4) == 0 {
			today.apply(&pb.CompactionRequest{Revision: today.Revision()})
			if fork.Readable = today.Revision(); g.IntN(2) == 0 {
				fork.Revision = 0
			}
		}
		tail := func(_ context.Context, visit func(*Command) error) error {
			for _, c := range all {
				if err := visit(&c.Command); err != nil {
					return err
				}
			}
			return nil
		}
		said := map[bool][]Verdict{}
		for _, dry := range []bool{true, false} {
			before := today.contents()
			o := Options{Fork: fork, MaxOps: 128, DryRun: dry}
			o.Report = func(e *Entry) error {
				c, after := all[len(said[dry])], today.contents()
				for k := byte('a'); k <= 'f'; k++ {
					name := string(k)
					if before[name] != after[name] && (e.Verdict != Applied || c.after[name] != after[name]) {
						t.Errorf("seed %d: %d is %s and made %q of %s; it was %s, and became %s when it was lost",
							seed, e.Position, e.Verdict, after[name], name, before[name], c.after[name])
					}
					if e.Verdict == Nothing && c.before[name] != c.after[name] {
						t.Errorf("seed %d: %d is nothing, and changed %s", seed, e.Position, name)
					}
				}
				before = after
				v := e.Verdict
				if v == Applies {
					v = Applied
				}
				said[dry] = append(said[dry], v)
				return nil
			}
			if _, err := Run(t.Context(), tail, today, o); err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range said[false] {
			if said[true][i] != v {
				t.Errorf("seed %d: %d is %s in the dry run, and then %s", seed, i+1, said[true][i], v)
			}
		}
		if t.Failed() {
			t.Fatalf("fork %+v", fork)
		}
	}
}
