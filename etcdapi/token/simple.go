package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// A simple token is, in base64: version 1, the second of its end and the auth revision as 8 bytes each, big endian, the
// name of the user, and an HMAC-SHA256 of all that under the user's key.
const (
	simpleVersion   = 1
	simpleNameAt    = 1 + 8 + 8
	simpleLeastSize = simpleNameAt + sha256.Size

	// furthestEnd is more than lies before the end of any token that a node gives, by a clock that is not the reader's.
	furthestEnd = MostTTL + time.Hour
)

type simple struct {
	ttl   time.Duration
	clock clock.Clock
}

// NewSimple returns the tokens that every node of the fleet can read, by what is in the replicated state.
func NewSimple(ttl time.Duration, c clock.Clock) Tokens { return &simple{ttl, c} }

// Assign implements Tokens.
func (s *simple) Assign(users Users, user string, revision uint64) (string, error) {
	key, ok := users.UserKey(user)
	if !ok {
		return "", ErrUnknownUser
	}
	end := s.clock.Now().Add(s.ttl + time.Second - 1).Unix()
	token := []byte{simpleVersion}
	token = binary.BigEndian.AppendUint64(token, uint64(end))
	token = binary.BigEndian.AppendUint64(token, revision)
	token = append(token, user...)
	return base64.RawURLEncoding.EncodeToString(append(token, mac(key, token)...)), nil
}

// Read implements Tokens.
func (s *simple) Read(users Users, token string, began time.Time) (Claim, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < simpleLeastSize || raw[0] != simpleVersion {
		return Claim{}, ErrInvalid
	}
	said, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	c := Claim{
		User:     string(said[simpleNameAt:]),
		Assigned: binary.BigEndian.Uint64(said[1+8:]),
		Revision: users.Revision(),
	}
	now, end := began.Unix(), int64(binary.BigEndian.Uint64(said[1:]))
	if now >= end || end-now > int64(furthestEnd/time.Second) {
		return Claim{}, ErrInvalid
	}
	key, ok := users.UserKey(c.User)
	if !ok {
		return c, ErrUnknownUser
	}
	if !hmac.Equal(mac(key, said), sum) {
		return c, ErrInvalid
	}
	c.Present = true
	c.Basis, _ = users.Basis(c.User)
	return c, nil
}

func mac(key, said []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("mimir simple token\n"))
	h.Write(said)
	return h.Sum(nil)
}
