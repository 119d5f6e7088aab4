package auth

import (
	"crypto/hmac"
	"crypto/sha256"
)

// UserKey returns a secret that all nodes know of a user: another one for another token key, and for each hash of a
// password, so that what was made with it ends with both. ok is false if there is no such user, or no token key.
func (s *State) UserKey(name string) (key []byte, ok bool) {
	u := s.user(name)
	if u == nil || len(s.tokenKey) == 0 {
		return nil, false
	}
	h := hmac.New(sha256.New, s.tokenKey)
	for _, part := range [][]byte{[]byte(name), {0}, u.Password} { // a hash has no zero byte
		h.Write(part)
	}
	return h.Sum(nil), true
}
