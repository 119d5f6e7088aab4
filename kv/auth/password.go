package auth

import (
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/mimir-kv/mimir/kv/command"
)

// nobodysHash is compared with where there is no hash, so that the time tells nobody who the users are.
var nobodysHash = sync.OnceValue(func() []byte {
	hash, _ := bcrypt.GenerateFromPassword([]byte("nobody's"), bcrypt.DefaultCost)
	return hash
})

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
		bcrypt.CompareHashAndPassword(nobodysHash(), []byte(password)) //nolint:errcheck // it is nobody's
		return 0, command.ErrAuthFailed
	case u.Options.GetNoPassword():
		bcrypt.CompareHashAndPassword(nobodysHash(), []byte(password)) //nolint:errcheck // it is nobody's
		return 0, command.ErrNoPasswordUser
	case bcrypt.CompareHashAndPassword(u.Password, []byte(password)) != nil:
		return 0, command.ErrAuthFailed
	}
	return s.revision, nil
}
