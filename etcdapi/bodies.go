package etcdapi

import (
	"context"
	"slices"
	"sync"
)

// bodies is the room for JSON bodies. What a site has in it is at most twice what is left free for others beside that,
// and so it is of one network in what its site may have; an address of IPv4 is both. So who sends large bodies slowly,
// over however many connections, is waited for by nobody but himself. Whoever is alone gets one of jsonBodyBytes. It is
// safe for concurrent use.
type bodies struct {
	mu      sync.Mutex
	all     source
	waiting []*source // who have bodies that wait, the next one first
}

// source is from where bodies come: a network, a site of several, or everywhere.
type source struct {
	of    *source // whose part it is; nil: of none
	name  string
	held  int64
	parts map[string]*source
	next  []*body // that wait, the first one first; of a network
}

// body is one that waits.
type body struct {
	bytes int64
	in    chan struct{} // closed when it waits no more
}

// timesFree is how many times what is left free somebody may have.
const timesFree = 2

// left returns how much more may be held of a source, beside bytes more.
func (s *source) left(bytes int64) int64 {
	most := int64(jsonBodiesBytes)
	if s.of != nil {
		most = timesFree * s.of.left(bytes)
	}
	return most - s.held - bytes
}

// hold counts bytes, less than none if they are held no longer. Who has nothing is forgotten.
func (s *source) hold(bytes int64) {
	for ; s != nil; s = s.of {
		if s.held += bytes; s.of != nil && s.held == 0 && len(s.parts)+len(s.next) == 0 {
			delete(s.of.parts, s.name)
		}
	}
}

// part returns the one of a name, which is made if there is none.
func (s *source) part(name string) *source {
	one := s.parts[name]
	if one == nil {
		if s.parts == nil {
			s.parts = map[string]*source{}
		}
		one = &source{of: s, name: name}
		s.parts[name] = one
	}
	return one
}

// acquire returns when there is room for a body of so many bytes from an address, until it is released. Its error is
// that of ctx.
func (b *bodies) acquire(ctx context.Context, address string, bytes int64) (release func(), err error) {
	b.mu.Lock()
	from := b.all.part(site(address)).part(network(address))
	release = sync.OnceFunc(func() { b.release(from, bytes) })
	if len(from.next) == 0 && from.left(bytes) >= 0 {
		from.hold(bytes)
		b.mu.Unlock()
		return release, nil
	}
	one := &body{bytes, make(chan struct{})}
	if from.next = append(from.next, one); len(from.next) == 1 {
		b.waiting = append(b.waiting, from)
	}
	b.mu.Unlock()
	select {
	case <-one.in:
		return release, nil
	case <-ctx.Done():
	}
	if !b.leave(from, one) { // it was let in meanwhile
		release()
	}
	return nil, ctx.Err()
}

func (b *bodies) release(from *source, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from.hold(-bytes)
	b.admit()
}

// leave has a body wait no more, and returns false if it does not.
func (b *bodies) leave(from *source, one *body) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.Index(from.next, one)
	if at < 0 {
		return false
	}
	if from.next = slices.Delete(from.next, at, at+1); len(from.next) == 0 {
		b.waiting = slices.DeleteFunc(b.waiting, func(s *source) bool { return s == from })
	}
	from.hold(0)
	b.admit()
	return true
}

// admit lets in who waits and has room: of each source one body, and then again of each. mu is held.
func (b *bodies) admit() {
	for some := true; some; {
		some = false
		for _, from := range slices.Clone(b.waiting) {
			one := from.next[0]
			if from.left(one.bytes) < 0 {
				continue
			}
			some = true
			from.hold(one.bytes)
			from.next = slices.Delete(from.next, 0, 1)
			close(one.in)
			b.waiting = slices.DeleteFunc(b.waiting, func(s *source) bool { return s == from })
			if len(from.next) > 0 {
				b.waiting = append(b.waiting, from)
			}
		}
	}
}
