package command

import (
	"bytes"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// touched is what a branch of a transaction may write. A small request can have very many operations in it, nested, and
// is looked at before it is known who asks: what is done for each is little more than to look it up.
type touched struct {
	puts    map[string]bool
	deletes intervals
}

// checkBranch finds what a branch may write, and refuses it if it would write a key twice. Two branches of one nested
// transaction exclude each other, and may both put a key.
func checkBranch(ops []*pb.RequestOp) (*touched, error) {
	t := &touched{puts: map[string]bool{}}
	var own []interval
	for _, op := range ops {
		if d := op.GetRequestDeleteRange(); d != nil {
			from, to := SpanOf(d.Key, d.RangeEnd).Interval()
			own = append(own, interval{from, to})
		}
	}
	t.deletes.add(inOrder(own))
	for _, op := range ops {
		if n := op.GetRequestTxn(); n != nil {
			if err := t.addNested(n); err != nil {
				return nil, err
			}
		}
	}
	for _, op := range ops {
		if p := op.GetRequestPut(); p != nil {
			key := string(p.Key)
			if t.puts[key] || t.deletes.have(key) {
				return nil, ErrDuplicateKey
			}
			t.puts[key] = true
		}
	}
	return t, nil
}

func (t *touched) addNested(r *pb.TxnRequest) error {
	success, err := checkBranch(r.Success)
	if err != nil {
		return err
	}
	failure, err := checkBranch(r.Failure)
	if err != nil {
		return err
	}
	for _, branch := range []*touched{success, failure} {
		if meet(t.puts, branch.puts) || t.deletes.haveAny(branch.puts) {
			return ErrDuplicateKey
		}
	}
	t.puts = joined(t.puts, joined(success.puts, failure.puts))
	for _, run := range slices.Concat(success.deletes.runs, failure.deletes.runs) {
		t.deletes.add(run)
	}
	return nil
}

// meet reports whether a key is in both.
func meet(a, b map[string]bool) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	for key := range a {
		if b[key] {
			return true
		}
	}
	return false
}

// joined returns what is in either, and uses both up.
func joined(a, b map[string]bool) map[string]bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	for key := range b {
		a[key] = true
	}
	return a
}

// interval is the keys from one, which is in it, up to another, which is not. A nil to is no bound.
type interval struct{ from, to []byte }

// intervals are a set of keys: runs, each of which is in order, and of intervals that do not touch. Each run is at
// least twice as long as the next one, so that there are few, and an interval comes into a longer one few times.
type intervals struct{ runs [][]interval }

// add adds a run.
func (s *intervals) add(run []interval) {
	if len(run) == 0 {
		return
	}
	s.runs = append(s.runs, run)
	for n := len(s.runs); n > 1 && len(s.runs[n-2]) < 2*len(s.runs[n-1]); n-- {
		s.runs[n-2] = merged(s.runs[n-2], s.runs[n-1])
		s.runs = s.runs[:n-1]
	}
}

func (s *intervals) have(key string) bool {
	for _, run := range s.runs {
		i, found := slices.BinarySearchFunc(run, key, func(one interval, key string) int {
			return bytes.Compare(one.from, []byte(key))
		})
		if found || i > 0 && run[i-1].holds(key) {
			return true
		}
	}
	return false
}

func (s *intervals) haveAny(keys map[string]bool) bool {
	if len(s.runs) == 0 {
		return false
	}
	for key := range keys {
		if s.have(key) {
			return true
		}
	}
	return false
}

// holds reports whether a key, which is not before the interval, is in it.
func (i interval) holds(key string) bool { return i.to == nil || key < string(i.to) }

// inOrder returns a run of intervals, which it uses up. Those that hold nothing are left out.
func inOrder(all []interval) []interval {
	all = slices.DeleteFunc(all, func(i interval) bool { return i.to != nil && bytes.Compare(i.from, i.to) >= 0 })
	slices.SortFunc(all, func(a, b interval) int { return bytes.Compare(a.from, b.from) })
	var run []interval
	for _, one := range all {
		run = appended(run, one)
	}
	return run
}

// merged returns one run of two.
func merged(a, b []interval) []interval {
	run := make([]interval, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if bytes.Compare(a[0].from, b[0].from) <= 0 {
			run, a = appended(run, a[0]), a[1:]
		} else {
			run, b = appended(run, b[0]), b[1:]
		}
	}
	for _, one := range slices.Concat(a, b) {
		run = appended(run, one)
	}
	return run
}

// appended adds an interval that does not begin before the last one of a run.
func appended(run []interval, one interval) []interval {
	n := len(run)
	if n == 0 || run[n-1].to != nil && bytes.Compare(run[n-1].to, one.from) < 0 {
		return append(run, one)
	}
	if last := &run[n-1]; last.to != nil && (one.to == nil || bytes.Compare(last.to, one.to) < 0) {
		last.to = one.to
	}
	return run
}
