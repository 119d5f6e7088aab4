package atrest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var (
	// ErrPlain says that keys which encrypt new files cannot take the place of such that do not, or the other way
	// round, while files are in use.
	ErrPlain = errors.New("whether new files are encrypted changes with a restart")
	// ErrGoes says that a key which is at hand would go while files are in use.
	ErrGoes = errors.New("a key goes with a restart only")
)

// ring is the keys that are at hand, and which of them were active since the filesystem was made. It never changes:
// another one takes its place.
type ring struct {
	Keys
	served map[KeyID]bool
}

func newRing(keys Keys, served map[KeyID]bool) *ring {
	r := &ring{keys, map[KeyID]bool{}}
	maps.Copy(r.served, served)
	if keys.active != nil {
		r.served[keys.active.id] = true
	}
	return r
}

// Keys are those that are at hand now.
func (s *FS) Keys() Keys { return s.ring.Load().Keys }

// Change puts other keys in place of those at hand, among which those all are: what is made from then on is under their
// active one, and what is there stays as it is. Keys that lack one are refused with [ErrGoes], and such that would make
// plain files of encrypted ones, or the other way round, with [ErrPlain]; then nothing changes.
func (s *FS) Change(keys Keys) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.ring.Load()
	if (now.active == nil) != (keys.active == nil) {
		return ErrPlain
	}
	if gone := now.without(keys); len(gone) > 0 {
		return fmt.Errorf("%w: put %s back, restart, and take it away when `mimir keys list` shows no file under it",
			ErrGoes, strings.Join(gone, " and "))
	}
	s.ring.Store(newRing(keys, now.served))
	return nil
}

// without names the keys that are not among others.
func (k Keys) without(others Keys) (names []string) {
	for id, one := range k.all {
		if other := others.all[id]; other == nil || !bytes.Equal(other.secret, one.secret) {
			names = append(names, id.String())
		}
	}
	slices.Sort(names)
	return names
}

// goesOn tells whether a file may be opened for writing as it is. One that was made here before keys changed may: who
// else has it open goes on in it too. It is asked when the header has been read, since keys may change meanwhile.
func (s *FS) goesOn(h header, encrypted bool) bool {
	return s.current(h, encrypted) || encrypted && s.ring.Load().served[h.key]
}
