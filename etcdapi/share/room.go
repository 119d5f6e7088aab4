// Package share shares what may be held of all clients by where they come from, for what is taken from strangers, who
// may say what they like over as many connections as they like.
//
// It promises that what a site has is at most twice what is left free for others beside that, and that so it is of one
// network in what its site may have; an address of IPv4 is both. So who holds much for long, over however many
// connections, is waited for by nobody who comes from elsewhere, and whoever comes from one address can take all from
// nobody. Whoever is alone may have [Room.Alone]; all who wait come in at last, each source in its turn.
//
// It leaves to others what is counted, and for how long it may be held.
package share

import (
	"context"
	"slices"
	"sync"
)

// Room is for so many bytes. It is safe for concurrent use.
type Room struct {
	most int64

	mu      sync.Mutex
	all     source
	waiting []*source // of which something waits, the next one first
}

// New returns a room for so many bytes.
func New(most int64) *Room { return &Room{most: most} }

// Bound has it be for so many bytes from now on. What is held stays.
func (r *Room) Bound(most int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = most
	r.admit()
}

// Alone is how much may be of one network that is alone.
func (r *Room) Alone() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The most n for which n ≤ timesFree × (timesFree × (most−n) − n).
	return r.most * timesFree * timesFree / (1 + timesFree + timesFree*timesFree)
}

// source is from where something comes: a network, a site of several, or everywhere.
type source struct {
	of    *source // whose part it is; nil: of none
	name  string
	held  int64
	parts map[string]*source
	next  []*guest // that wait, the first one first; of a network
}

// guest is something that waits.
type guest struct {
	bytes int64
	in    chan struct{} // closed when it waits no more
}

// timesFree is how many times what is left free somebody may have.
const timesFree = 2

// left returns how much more may be held of a source, beside bytes more, where so many may be of all. The mutex of the
// room is held, as for all that follows.
func (s *source) left(most, bytes int64) int64 {
	if s.of != nil {
		most = timesFree * s.of.left(most, bytes)
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

// from returns the source of an address.
func (r *Room) from(address string) *source {
	site, network := names(address)
	return r.all.part(site).part(network)
}

// Fits reports whether there is room for so many bytes from an address.
func (r *Room) Fits(address string, bytes int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.from(address)
	defer from.hold(0)
	return from.left(r.most, bytes) >= 0
}

// Holds reports whether anything is held from the site of an address.
func (r *Room) Holds(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	site, _ := names(address)
	from := r.all.parts[site]
	return from != nil && from.held > 0
}

// Hold counts bytes from an address, of which there may be more than there is room for; less than none are held no
// longer.
func (r *Room) Hold(address string, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from(address).hold(bytes)
	if bytes < 0 {
		r.admit()
	}
}

// Try returns false if there is no room for so many bytes from an address, or else what releases it.
func (r *Room) Try(address string, bytes int64) (release func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.from(address)
	if len(from.next) > 0 || from.left(r.most, bytes) < 0 {
		from.hold(0)
		return nil, false
	}
	from.hold(bytes)
	return sync.OnceFunc(func() { r.release(from, bytes) }), true
}

// Acquire returns what releases it when there is room for so many bytes from an address, which are no more than Alone.
// Its error is that of ctx.
func (r *Room) Acquire(ctx context.Context, address string, bytes int64) (release func(), err error) {
	release, ok := r.Try(address, bytes)
	if ok {
		return release, nil
	}
	from, one := r.wait(address, bytes)
	select {
	case <-one.in:
		return sync.OnceFunc(func() { r.release(from, bytes) }), nil
	case <-ctx.Done():
	}
	if !r.leave(from, one) { // it was let in meanwhile
		r.release(from, bytes)
	}
	return nil, ctx.Err()
}

// wait has so many bytes from an address wait.
func (r *Room) wait(address string, bytes int64) (*source, *guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, one := r.from(address), &guest{bytes, make(chan struct{})}
	if from.next = append(from.next, one); len(from.next) == 1 {
		r.waiting = append(r.waiting, from)
	}
	r.admit() // there may be room by now
	return from, one
}

func (r *Room) release(from *source, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from.hold(-bytes)
	r.admit()
}

// leave has something wait no more, and returns false if it does not.
func (r *Room) leave(from *source, one *guest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.Index(from.next, one)
	if at < 0 {
		return false
	}
	if from.next = slices.Delete(from.next, at, at+1); len(from.next) == 0 {
		r.waiting = slices.DeleteFunc(r.waiting, func(s *source) bool { return s == from })
	}
	from.hold(0)
	r.admit()
	return true
}

// admit lets in what waits and has room: of each source one, and then again of each.
func (r *Room) admit() {
	for some := true; some; {
		some = false
		for _, from := range slices.Clone(r.waiting) {
			one := from.next[0]
			if from.left(r.most, one.bytes) < 0 {
				continue
			}
			some = true
			from.hold(one.bytes)
			from.next = slices.Delete(from.next, 0, 1)
			close(one.in)
			r.waiting = slices.DeleteFunc(r.waiting, func(s *source) bool { return s == from })
			if len(from.next) > 0 {
				r.waiting = append(r.waiting, from)
			}
		}
	}
}
