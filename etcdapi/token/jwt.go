package token

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimir-kv/mimir/etcdapi/reread"
	"github.com/mimir-kv/mimir/replication/clock"
)

// recheckInterval is how often the files of keys are looked at.
const recheckInterval = 10 * time.Second

// signed makes and takes JWTs.
type signed struct {
	spec   Spec
	method *method
	file   func(name string) ([]byte, error)
	clock  clock.Clock
	logger *slog.Logger

	turn reread.Turn // who looks at the files

	mu    sync.Mutex
	keys  *keys
	texts [2][]byte // the files of keys, public and private
}

// NewJWT returns tokens that are JWTs, with the keys in the files that spec names, which are read by file, and again
// when they change. A change that cannot be read keeps the former keys, and is logged.
func NewJWT(
	spec Spec, file func(name string) ([]byte, error), c clock.Clock, logger *slog.Logger,
) (Tokens, error) {
	m, err := methodOf(spec.Method)
	if err != nil {
		return nil, err
	}
	s := &signed{spec: spec, method: m, file: file, clock: c, logger: logger}
	s.turn.Hung = func() {
		logger.Warn("the keys of JWTs are not read again, their disk may hang: the former ones go on")
	}
	s.turn.Looked(c.Now())
	if s.texts, err = s.read(); err != nil {
		return nil, err
	}
	if s.keys, err = m.read(s.texts[0], s.texts[1]); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *signed) read() (texts [2][]byte, err error) {
	for i, name := range []string{s.spec.PublicFile, s.spec.PrivateFile} {
		if name == "" {
			continue
		}
		if texts[i], err = s.file(name); err != nil {
			return texts, err
		}
	}
	return texts, nil
}

// current returns the keys as the files have them.
func (s *signed) current() *keys {
	s.turn.Look(s.clock.Now(), recheckInterval, s.look)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// look takes what the files have.
func (s *signed) look() {
	texts, err := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && bytes.Equal(texts[0], s.texts[0]) && bytes.Equal(texts[1], s.texts[1]) {
		return
	}
	var changed *keys
	if err == nil {
		changed, err = s.method.read(texts[0], texts[1])
	}
	if err != nil {
		s.logger.Warn("the keys of JWTs have changed and cannot be read: the former ones go on", "err", err)
		return
	}
	s.logger.Info("the keys of JWTs have changed")
	s.keys, s.texts = changed, texts
}

// The claims are those of etcd, and of a token that a node gave also which password was shown for it.
const (
	claimUser     = "username"
	claimRevision = "revision"
	claimEnd      = "exp"
	claimBasis    = "basis"
)

// Assign implements Tokens.
func (s *signed) Assign(users Users, user string, revision uint64) (string, error) {
	k := s.current()
	if k.signs == nil {
		return "", ErrVerifyOnly
	}
	basis, ok := users.Basis(user)
	if !ok {
		return "", ErrUnknownUser
	}
	claims := jwt.MapClaims{
		claimUser: user, claimRevision: revision, claimEnd: s.clock.Now().Add(s.spec.TTL).Unix(),
		claimBasis: base64.RawURLEncoding.EncodeToString(basis[:]),
	}
	text, err := jwt.NewWithClaims(s.method.SigningMethod, claims).SignedString(k.signs)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}

// Read implements Tokens. When the stream began does not matter: whoever has signed the token has said until when it
// counts.
func (s *signed) Read(_ Users, token string, _ time.Time) (Claim, error) {
	k := s.current()
	parser := jwt.NewParser(jwt.WithValidMethods([]string{s.method.Alg()}), jwt.WithTimeFunc(s.clock.Now))
	claims := jwt.MapClaims{}
	_, err := parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return k.verifies, nil })
	if err != nil {
		return Claim{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	user, named := claims[claimUser].(string)
	revision, numbered := claims[claimRevision].(float64)
	if !named || !numbered || revision < 0 || revision >= 1<<63 {
		return Claim{}, fmt.Errorf("%w: want the claims %s and %s", ErrInvalid, claimUser, claimRevision)
	}
	c := Claim{User: user, Assigned: uint64(revision), Revision: uint64(revision)}
	if said, there := claims[claimBasis]; there {
		text, _ := said.(string)
		basis, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(basis) != len(c.Basis) || Basis(basis) == (Basis{}) {
			return Claim{}, fmt.Errorf("%w: the claim %s is none", ErrInvalid, claimBasis)
		}
		c.Basis = Basis(basis)
	}
	return c, nil
}
