package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// method is a way to sign JWTs.
type method struct {
	jwt.SigningMethod
	public  func(pem []byte) (crypto.PublicKey, error)
	private func(pem []byte) (crypto.PrivateKey, error)
}

// keys are those of one method. What signs is nil where tokens are only verified.
type keys struct{ signs, verifies any }

func methodOf(name string) (*method, error) {
	m := &method{SigningMethod: jwt.GetSigningMethod(name)}
	switch m.SigningMethod.(type) {
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		m.public = func(pem []byte) (crypto.PublicKey, error) { return jwt.ParseRSAPublicKeyFromPEM(pem) }
		m.private = func(pem []byte) (crypto.PrivateKey, error) { return jwt.ParseRSAPrivateKeyFromPEM(pem) }
	case *jwt.SigningMethodECDSA:
		m.public = func(pem []byte) (crypto.PublicKey, error) { return jwt.ParseECPublicKeyFromPEM(pem) }
		m.private = func(pem []byte) (crypto.PrivateKey, error) { return jwt.ParseECPrivateKeyFromPEM(pem) }
	case *jwt.SigningMethodEd25519:
		m.public = func(pem []byte) (crypto.PublicKey, error) { return jwt.ParseEdPublicKeyFromPEM(pem) }
		m.private = func(pem []byte) (crypto.PrivateKey, error) { return jwt.ParseEdPrivateKeyFromPEM(pem) }
	case *jwt.SigningMethodHMAC:
	default: // also "none"
		return nil, fmt.Errorf("sign-method %q: use RS256, PS256, ES256, HS256 or their like, or EdDSA", name)
	}
	return m, nil
}

// symmetric reports whether the same key signs and verifies.
func (m *method) symmetric() bool { return m.public == nil }

// read takes the keys out of what the files have, either of which may be nil.
func (m *method) read(public, private []byte) (*keys, error) {
	if m.symmetric() {
		if len(private) == 0 {
			return nil, errors.New("priv-key is empty")
		}
		return &keys{private, private}, nil
	}
	k := &keys{}
	if private != nil {
		signs, err := m.private(private)
		if err != nil {
			return nil, fmt.Errorf("priv-key: %w", err)
		}
		k.signs, k.verifies = signs, publicOf(signs)
	}
	if public == nil {
		return k, nil
	}
	verifies, err := m.public(public)
	if err != nil {
		return nil, fmt.Errorf("pub-key: %w", err)
	}
	if k.signs != nil && !verifies.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.verifies) {
		return nil, errors.New("pub-key is not that of priv-key")
	}
	k.verifies = verifies
	return k, nil
}

func publicOf(private crypto.PrivateKey) crypto.PublicKey {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return &k.PublicKey
	case *ecdsa.PrivateKey:
		return &k.PublicKey
	case ed25519.PrivateKey:
		return k.Public().(ed25519.PublicKey)
	}
	return nil
}
