package replay

import (
	"bytes"
	"cmp"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// truth is what is known of a question.
type truth int

const (
	no truth = iota
	maybe
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// and is the truth of both.
func (t truth) and(o truth) truth { return min(t, o) }

// holds compares one key. A key that is not there compares as zeroes, but its value with nothing.
func (k *key) holds(c *pb.Compare) truth {
	switch {
	case !k.sure:
		return maybe
	case !k.lost.exists && c.Target == pb.Compare_VALUE:
		return no
	}
	v := &k.lost
	switch c.Target {
	case pb.Compare_VALUE:
		return truthOf(says(c.Result, bytes.Compare(v.value, c.GetValue())))
	case pb.Compare_LEASE:
		return truthOf(says(c.Result, cmp.Compare(v.lease, c.GetLease())))
	case pb.Compare_VERSION:
		if v.vague {
			return maybe
		}
		return truthOf(says(c.Result, cmp.Compare(v.number, c.GetVersion())))
	case pb.Compare_CREATE:
		if v.vague {
			return maybe
		}
		return compareRevision(c.Result, v.create, c.GetCreateRevision())
	case pb.Compare_MOD:
		k.learn(c)
		return compareRevision(c.Result, v.mod, c.GetModRevision())
	}
	return maybe
}

// learn takes the word of a client that compares for the very revision of a key: it can have seen only one that the key
// had. Below the last one it had another.
func (k *key) learn(c *pb.Compare) {
	low, high := k.lost.mod.bounds()
	seen := c.GetModRevision()
	if c.Result != pb.Compare_EQUAL || low == high || seen < low || seen > high || !k.prior {
		return
	}
	if _, before := k.before.mod.bounds(); seen > before {
		k.lost.mod.learn(seen)
	}
}

// compareRevision compares a revision that lies between two bounds.
func compareRevision(result pb.Compare_CompareResult, s stamp, with int64) truth {
	low, high := s.bounds()
	if low > with || high < with || low == high {
		return truthOf(says(result, cmp.Compare(low, with)))
	}
	least, most := says(result, cmp.Compare(low, with)), says(result, cmp.Compare(high, with))
	if result != pb.Compare_EQUAL && result != pb.Compare_NOT_EQUAL && least == most {
		return truthOf(least)
	}
	return maybe
}

// says reports whether a comparison that came out as order is what result asks for.
func says(result pb.Compare_CompareResult, order int) bool {
	switch result {
	case pb.Compare_EQUAL:
		return order == 0
	case pb.Compare_NOT_EQUAL:
		return order != 0
	case pb.Compare_GREATER:
		return order > 0
	case pb.Compare_LESS:
		return order < 0
	}
	return true // as the store has it
}
