package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/mimir-kv/mimir/kv/command"
)

// basis is what commands say of the password of a user, while there is a key of tokens.
type basis struct {
	tokenKey []byte
	of       command.Basis
}

// Basis returns what a command says of the password of a user, in whose name it is: another one for another password,
// and for another key of tokens. ok is false if there is no such user, or no such key.
func (s *State) Basis(name string) (of command.Basis, ok bool) {
	u := s.users[name]
	if u == nil || len(s.tokenKey) == 0 {
		return of, false
	}
	if known := u.basis.Load(); known != nil && bytes.Equal(known.tokenKey, s.tokenKey) {
		return known.of, true
	}
	key, _ := s.UserKey(name)
	h := hmac.New(sha256.New, key)
	h.Write([]byte("mimir basis of a command\n"))
	copy(of[:], h.Sum(nil))
	u.basis.Store(&basis{s.tokenKey, of})
	return of, true
}

// Stands returns nil if what id stands on is as it was: always, if it does not say on what. Else it is
// ErrAuthOldRevision: the user has another password by now, or is gone, or all that was given to who logged in has
// ended.
func (s *State) Stands(id Identity) error {
	if !s.enabled || id.Basis == (command.Basis{}) {
		return nil
	}
	if of, ok := s.Basis(id.User); !ok || of != id.Basis {
		return command.ErrAuthOldRevision
	}
	return nil
}
