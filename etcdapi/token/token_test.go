package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// users are what a node knows of users: their keys, and a revision.
type users struct {
	revision uint64
	keys     map[string]string
}

func (u users) Revision() uint64 { return u.revision }

func (u users) UserKey(name string) ([]byte, bool) {
	key, ok := u.keys[name]
	return []byte(key), ok
}

func (u users) Basis(name string) (basis token.Basis, ok bool) {
	key, ok := u.keys[name]
	copy(basis[:], key)
	return basis, ok
}

// ann is the only user of these.
var ann = users{7, map[string]string{"ann": "sixteen bytes of a secret"}}

func TestSimpleTokens(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		tokens := token.NewSimple(time.Minute, clock.Real)
		const basis = "sixteen bytes of"
		u := users{7, map[string]string{"ann": basis + " a secret"}}
		made, err := tokens.Assign(u, "ann", 7)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(made, " \t\n.=") {
			t.Errorf("%q does not fit into a header", made)
		}
		began := time.Now()
		elsewhere := users{9, u.keys} // another node, later
		want := token.Claim{User: "ann", Assigned: 7, Revision: 9, Present: true, Basis: token.Basis([]byte(basis))}
		if got, err := tokens.Read(elsewhere, made, began); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
		for what, u := range map[string]users{
			"another password": {9, map[string]string{"ann": "other"}},
			"no such user":     {9, nil},
		} {
			if got, err := tokens.Read(u, made, began); !errors.Is(err, token.ErrInvalid) || got.Assigned != 7 {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		}
		raw, _ := base64.RawURLEncoding.DecodeString(made)
		for i := range raw {
			raw[i] ^= 1
			if _, err := tokens.Read(u, base64.RawURLEncoding.EncodeToString(raw), began); err == nil {
				t.Errorf("byte %d was changed, and it counts", i)
			}
			raw[i] ^= 1
		}
		for _, text := range []string{"", "x", made[:len(made)-1], made + "A", "abcdefgh.12", strings.Repeat("A", 60)} {
			if _, err := tokens.Read(u, text, began); !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%q: %v", text, err)
			}
		}
		time.Sleep(62 * time.Second)
		if _, err := tokens.Read(u, made, time.Now()); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("after its end: %v", err)
		}
		if _, err := tokens.Read(u, made, began); err != nil {
			t.Errorf("on a stream that began before: %v", err)
		}
		if _, err := tokens.Assign(u, "bob", 7); !errors.Is(err, token.ErrUnknownUser) {
			t.Errorf("for nobody: %v", err)
		}
	})
}

// Whoever knows what tokens are signed with makes none that counts for longer than one that was given.
func TestASimpleTokenEndsWithinADay(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		u := users{7, map[string]string{"ann": "a secret"}}
		for ttl, counts := range map[time.Duration]bool{
			token.MostTTL: true, token.MostTTL + time.Minute: true, token.MostTTL + 2*time.Hour: false, 1 << 62: false,
		} {
			made, err := token.NewSimple(ttl, clock.Real).Assign(u, "ann", 7)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := token.NewSimple(time.Minute, clock.Real).Read(u, made, time.Now()); (err == nil) != counts {
				t.Errorf("for %s: %v", ttl, err)
			}
		}
	})
}

// A JWT that a node gave says which password was shown for it.
func TestAJWTSaysWhatItStandsOn(t *testing.T) {
	f := files{"k": []byte("a secret of enough characters for this")}
	tokens, err := open(t, "jwt,sign-method=HS256,priv-key=k", f)
	if err != nil {
		t.Fatal(err)
	}
	made, err := tokens.Assign(ann, "ann", 7)
	if err != nil {
		t.Fatal(err)
	}
	want := token.Claim{User: "ann", Assigned: 7, Revision: 7, Basis: token.Basis([]byte("sixteen bytes of"))}
	if got, err := tokens.Read(users{9, nil}, made, time.Time{}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := tokens.Assign(ann, "bob", 7); !errors.Is(err, token.ErrUnknownUser) {
		t.Errorf("for nobody: %v", err)
	}
}

// files are those of keys.
type files map[string][]byte

func (f files) read(name string) ([]byte, error) {
	if text, ok := f[name]; ok {
		return text, nil
	}
	return nil, fs.ErrNotExist
}

func pair(t *testing.T, private any) (public, secret []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var of any
	switch k := private.(type) {
	case *rsa.PrivateKey:
		of = &k.PublicKey
	case *ecdsa.PrivateKey:
		of = &k.PublicKey
	case ed25519.PrivateKey:
		of = k.Public()
	}
	open, err := x509.MarshalPKIXPublicKey(of)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func edPair(t *testing.T) (public, secret []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pair(t, key)
}

func open(t *testing.T, setting string, f files) (token.Tokens, error) {
	t.Helper()
	spec, err := token.Parse(setting)
	if err != nil {
		t.Fatal(err)
	}
	return token.NewJWT(spec, f.read, clock.Real, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func TestJWTs(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := files{"secret": []byte("a secret of enough characters for this")}
	f["rsa.pub"], f["rsa"] = pair(t, rsaKey)
	f["ec.pub"], f["ec"] = pair(t, ecKey)
	f["ed.pub"], f["ed"] = pair(t, edKey)
	for method, name := range map[string]string{
		"RS256": "rsa", "PS384": "rsa", "ES256": "ec", "EdDSA": "ed", "HS256": "secret",
	} {
		signing, err := open(t, "jwt,sign-method="+method+",priv-key="+name+",ttl=10m", f)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		made, err := signing.Assign(ann, "ann", 7)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		reading := signing
		if name != "secret" {
			if reading, err = open(t, "jwt,sign-method="+method+",pub-key="+name+".pub", f); err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			if _, err := reading.Assign(ann, "ann", 7); !errors.Is(err, token.ErrVerifyOnly) {
				t.Errorf("%s signs without a key: %v", method, err)
			}
		}
		want := token.Claim{User: "ann", Assigned: 7, Revision: 7, Basis: token.Basis([]byte("sixteen bytes of"))}
		if got, err := reading.Read(users{9, nil}, made, time.Time{}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", method, got, err)
		}
	}
	if _, err := open(t, "jwt,sign-method=ES256,pub-key=ed.pub,priv-key=ec", f); err == nil {
		t.Error("a pub-key of another kind is taken")
	}
	f["ed2.pub"], f["ed2"] = edPair(t)
	if _, err := open(t, "jwt,sign-method=EdDSA,pub-key=ed.pub,priv-key=ed2", f); err == nil {
		t.Error("a pub-key that is not that of priv-key is taken")
	}
}

// What is no token of ours, or does not say whose it is, is none.
func TestForgedJWTs(t *testing.T) {
	f := files{}
	f["pub"], f["key"] = edPair(t)
	tokens, err := open(t, "jwt,sign-method=EdDSA,pub-key=pub,priv-key=key", f)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseEdPrivateKeyFromPEM(f["key"])
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	soon, past := time.Now().Add(time.Minute).Unix(), time.Now().Add(-time.Minute).Unix()
	for what, one := range map[string]struct {
		method jwt.SigningMethod
		key    any
		claims jwt.MapClaims
	}{
		"none": {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType,
			jwt.MapClaims{"username": "root", "revision": 7, "exp": soon}},
		"the public key as a secret": {jwt.SigningMethodHS256, f["pub"],
			jwt.MapClaims{"username": "root", "revision": 7, "exp": soon}},
		"not yet": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "a", "revision": 7, "exp": soon, "nbf": soon}},
		"an end in text": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "a", "revision": 7, "exp": "never"}},
		"another key": {jwt.SigningMethodEdDSA, other, jwt.MapClaims{"username": "root", "revision": 7, "exp": soon}},
		"another method": {jwt.SigningMethodHS512, []byte(f["key"]),
			jwt.MapClaims{"username": "root", "revision": 7, "exp": soon}},
		"a user that is none": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": []string{"root"}, "revision": 7, "exp": soon}},
		"a revision without end": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "root", "revision": 1e300, "exp": soon}},
		"expired":     {jwt.SigningMethodEdDSA, key, jwt.MapClaims{"username": "a", "revision": 7, "exp": past}},
		"no user":     {jwt.SigningMethodEdDSA, key, jwt.MapClaims{"revision": 7, "exp": soon}},
		"no revision": {jwt.SigningMethodEdDSA, key, jwt.MapClaims{"username": "a", "exp": soon}},
		"a negative one": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "a", "revision": -1, "exp": soon}},
		"a revision in text": {jwt.SigningMethodEdDSA, key, jwt.MapClaims{"username": "a", "revision": "7"}},
		"a basis that is none": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "a", "revision": 7, "basis": 7}},
		"a short basis": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "a", "revision": 7, "basis": "c2l4dGVlbg"}},
		"a basis of nothing": {jwt.SigningMethodEdDSA, key,
			jwt.MapClaims{"username": "a", "revision": 7, "basis": strings.Repeat("A", 22)}},
	} {
		text, err := jwt.NewWithClaims(one.method, one.claims).SignedString(one.key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tokens.Read(users{7, nil}, text, time.Now()); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// Keys that have changed count without a restart; what cannot be read does not.
func TestKeysOfJWTsAreReadAgain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		f := files{}
		f["pub"], f["key"] = edPair(t)
		tokens, err := open(t, "jwt,sign-method=EdDSA,pub-key=pub,priv-key=key,ttl=1h", f)
		if err != nil {
			t.Fatal(err)
		}
		before, err := tokens.Assign(ann, "ann", 7)
		if err != nil {
			t.Fatal(err)
		}
		f["key"] = []byte("half a k")
		time.Sleep(time.Minute)
		if _, err := tokens.Read(nil, before, time.Time{}); err != nil {
			t.Errorf("with a broken file: %v", err)
		}
		f["pub"], f["key"] = edPair(t)
		time.Sleep(time.Minute)
		if _, err := tokens.Read(nil, before, time.Time{}); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("signed with the former key: %v", err)
		}
		after, err := tokens.Assign(ann, "ann", 7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Read(nil, after, time.Time{}); err != nil {
			t.Errorf("signed with the new key: %v", err)
		}
	})
}

func TestParse(t *testing.T) {
	for text, want := range map[string]token.Spec{
		"simple":                           {TTL: 5 * time.Minute},
		"jwt,sign-method=HS256,priv-key=k": {Method: "HS256", PrivateFile: "k", TTL: 5 * time.Minute},
		"jwt,pub-key=p,priv-key=k,sign-method=RS256,ttl=10m": {
			Method: "RS256", PublicFile: "p", PrivateFile: "k", TTL: 10 * time.Minute},
	} {
		if got, err := token.Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "simple,ttl=1m", "nop", "jwt", "jwt,", "jwt,sign-method=none,priv-key=k", "jwt,sign-method=RS256",
		"jwt,sign-method=HS256,pub-key=p", "jwt,sign-method=RS256,priv-key=k,priv-key=k",
		"jwt,sign-method=RS256,priv-key=k,ttl=0s", "jwt,sign-method=RS256,priv-key=k,color=red", "jwt,priv-key=k",
	} {
		if got, err := token.Parse(text); err == nil {
			t.Errorf("%q is taken: %+v", text, got)
		}
	}
}
