package auth

import (
	"golang.org/x/crypto/bcrypt"

	"github.com/mimir-kv/mimir/kv/command"
)

// CheckPassword returns the revision at which a password was found to be the user's, or ErrAuthNotEnabled,
// ErrAuthFailed or ErrNoPasswordUser. It takes long, as it should: nothing must wait for it.
func (s *State) CheckPassword(name, password string) (revision uint64, err error) {
	if !s.enabled {
		return 0, command.ErrAuthNotEnabled
	}
	u := s.user(name)
	switch {
	case u == nil:
		return 0, command.ErrAuthFailed
	case u.Options.GetNoPassword():
		return 0, command.ErrNoPasswordUser
	case bcrypt.CompareHashAndPassword(u.Password, []byte(password)) != nil:
		return 0, command.ErrAuthFailed
	}
	return s.revision, nil
}
