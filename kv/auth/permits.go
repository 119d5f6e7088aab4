package auth

import (
	"bytes"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
)

// permits is what a user may read and write.
type permits struct{ read, write spans }

func (p *permits) of(kind authpb.Permission_Type) spans {
	if kind == authpb.Permission_READ {
		return p.read
	}
	return p.write
}

// permitsOf returns what the roles of a user permit, made the first time that it is asked for.
func (s *State) permitsOf(u *user) *permits {
	if p := u.permits.Load(); p != nil {
		return p
	}
	var read, write spans
	for _, name := range u.Roles {
		for _, one := range s.roles[name].GetKeyPermission() {
			sp := spanOf(one.Key, one.RangeEnd)
			if one.PermType == authpb.Permission_READ || one.PermType == authpb.Permission_READWRITE {
				read = append(read, sp)
			}
			if one.PermType == authpb.Permission_WRITE || one.PermType == authpb.Permission_READWRITE {
				write = append(write, sp)
			}
		}
	}
	p := &permits{read: read.merged(), write: write.merged()}
	u.permits.Store(p)
	return p
}

// span is an interval of keys. An empty end is no bound.
type span struct{ begin, end []byte }

// spanOf reads key and range_end as etcd does.
func spanOf(key, end []byte) span {
	switch {
	case len(end) == 0:
		return span{key, append(bytes.Clone(key), 0)}
	case openEnded(end):
		return span{key, nil}
	}
	return span{key, end}
}

func openEnded(end []byte) bool { return len(end) == 1 && end[0] == 0 }

// compareEnds compares bounds, of which the empty one is above all others.
func compareEnds(a, b []byte) int {
	switch {
	case len(a) == 0 && len(b) == 0:
		return 0
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return bytes.Compare(a, b)
}

// spans are, once merged, in order, and none touches the next.
type spans []span

// merged returns what the spans cover together. It uses them up.
func (s spans) merged() spans {
	slices.SortFunc(s, func(a, b span) int { return bytes.Compare(a.begin, b.begin) })
	out := s[:0]
	for _, one := range s {
		if n := len(out); n > 0 && compareEnds(out[n-1].end, one.begin) >= 0 {
			if compareEnds(one.end, out[n-1].end) > 0 {
				out[n-1].end = one.end
			}
			continue
		}
		out = append(out, one)
	}
	return slices.Clip(out)
}

// covers reports whether every key of a range, named as requests name it, is in merged spans. Of a range that ends
// before it begins, and holds nothing, the first key is looked at.
func (s spans) covers(key, end []byte) bool {
	q := spanOf(key, end)
	i, found := slices.BinarySearchFunc(s, q.begin, func(one span, key []byte) int {
		return bytes.Compare(one.begin, key)
	})
	if !found {
		i--
	}
	if i < 0 || compareEnds(s[i].end, q.begin) <= 0 {
		return false
	}
	return compareEnds(s[i].end, q.end) >= 0
}

// everything reports whether merged spans hold every key there can be.
func (s spans) everything() bool {
	return len(s) == 1 && len(s[0].end) == 0 && bytes.Compare(s[0].begin, []byte{0}) <= 0
}
