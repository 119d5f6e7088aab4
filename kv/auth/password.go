package auth

import (
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/mimir-kv/mimir/kv/command"
)

// nobodysHash is compared with where there is no other.
var nobodysHash = sync.OnceValue(func() []byte {
	hash, _ := bcrypt.GenerateFromPassword([]byte("nobody's"), bcrypt.DefaultCost)
	return hash
})

// waste takes as long as a comparison does, so that the time tells nobody who the users are: root's hash, where it has
// one, costs what others do.
func (s *State) waste(password string) {
	hash := s.user(Root).GetPassword()
	if len(hash) == 0 {
		hash = nobodysHash()
	}
	bcrypt.CompareHashAndPassword(hash, []byte(password)) //nolint:errcheck // it lets nobody in
}

// CheckPassword returns the revision at which a password was found to be the user's, or ErrAuthNotEnabled,
// ErrAuthFailed or ErrNoPasswordUser. It takes long, as it should, also for a user that there is not: nothing must wait
// for it.
func (s *State) CheckPassword(name, password string) (revision uint64, err error) {
	if !s.enabled {
		return 0, command.ErrAuthNotEnabled
	}
	u := s.user(name)
	switch {
	case u == nil:
		s.waste(password)
		return 0, command.ErrAuthFailed
	case u.Options.GetNoPassword():
		s.waste(password)
		return 0, command.ErrNoPasswordUser
	case bcrypt.CompareHashAndPassword(u.Password, []byte(password)) != nil:
		return 0, command.ErrAuthFailed
	}
	return s.revision, nil
}
