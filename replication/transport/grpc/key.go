package grpctransport

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// Two processes that have a key of the fleet in common show each other that they do, before the first byte of HTTP/2.
// The key itself never travels, and what does is of no use for another connection:
//
//	dialer:   magic, identity of its key (8), nonce (32)
//	listener: state, nonce (32), proof of the key over both nonces (32)
//	dialer:   proof of the key over both nonces (32)
//	listener: state
//
// A listener of several fleets has the keys of all of them, and says keyNone to a key that it does not know if it
// serves a fleet without one, so that who need not show one goes on without, as towards a listener that has none.
//
// A connection that does not begin with the magic has shown no key; a listener that needs one says so on each stream.
const (
	keyMagic   = "MIMIRKEY"
	keyIDBytes = 8
	nonceBytes = 32
	proofBytes = sha256.Size

	keyNone, keyKnown, keyUnknown = 0, 1, 2
)

// MinKeyBytes is the least length of a key.
const MinKeyBytes = 32

// Errors of the exchange, as the dialer's log has them.
var (
	errNoKey      = errors.New("it does not answer the fleet key: it has none, or is of a version before")
	errUnknownKey = errors.New("it does not know the fleet key that this node sends")
	errFalseKey   = errors.New("the other side has another fleet key than it says")
)

func keyProof(key []byte, who string, nonces ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	io.WriteString(m, "mimir fleet key: "+who)
	for _, n := range nonces {
		m.Write(n)
	}
	return m.Sum(nil)
}

func keyID(key []byte) []byte { return keyProof(key, "identity")[:keyIDBytes] }

// keyed are credentials with the exchange behind those below.
type keyed struct {
	credentials.TransportCredentials
	keys     [][]byte // the first is sent
	optional bool     // go on without, where the other side has none
	some     bool     // as a listener: there are fleets without a key

	mu      *sync.Mutex
	without map[string]bool // dialled addresses that did not answer it the last time
}

// withKeys returns inner with the exchange behind it; inner itself if there are no keys.
func withKeys(inner credentials.TransportCredentials, o *Options) credentials.TransportCredentials {
	if len(o.Keys) == 0 {
		return inner
	}
	return &keyed{inner, o.Keys, o.KeyOptional, o.someKeyless, new(sync.Mutex), map[string]bool{}}
}

// Clone implements credentials.TransportCredentials.
func (k *keyed) Clone() credentials.TransportCredentials {
	c := *k
	c.TransportCredentials = k.TransportCredentials.Clone()
	return &c
}

// keyInfo says of a connection which key was shown; nil: none.
type keyInfo struct {
	credentials.AuthInfo
	key []byte
}

// ClientHandshake implements credentials.TransportCredentials. Where the key is optional, an address that did not
// answer it is tried without the next time, and then with it again.
func (k *keyed) ClientHandshake(
	ctx context.Context, authority string, raw net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := k.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	addr := raw.RemoteAddr().String()
	k.mu.Lock()
	skip := k.optional && k.without[addr]
	delete(k.without, addr)
	k.mu.Unlock()
	if skip {
		return c, info, nil
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := k.show(c); err != nil {
		k.mu.Lock()
		k.without[addr] = errors.Is(err, errNoKey)
		k.mu.Unlock()
		c.Close()
		return nil, nil, err
	}
	return c, keyInfo{info, k.keys[0]}, nil
}

// show is the dialer's side of the exchange.
func (k *keyed) show(c net.Conn) error {
	key, mine := k.keys[0], make([]byte, nonceBytes)
	rand.Read(mine) // never fails
	if _, err := c.Write(bytes.Join([][]byte{[]byte(keyMagic), keyID(key), mine}, nil)); err != nil {
		return err
	}
	answer := make([]byte, 1+nonceBytes+proofBytes)
	if _, err := io.ReadFull(c, answer[:1]); err != nil {
		return err // also one without a key shows something first
	}
	switch answer[0] {
	case keyKnown:
	case keyUnknown:
		return errUnknownKey
	default: // the first byte of an HTTP/2 frame
		return errNoKey
	}
	if _, err := io.ReadFull(c, answer[1:]); err != nil {
		return err
	}
	theirs, proof := answer[1:1+nonceBytes], answer[1+nonceBytes:]
	if !hmac.Equal(proof, keyProof(key, "listener", mine, theirs)) {
		return errFalseKey
	}
	if _, err := c.Write(keyProof(key, "dialer", mine, theirs)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, answer[:1]); err != nil {
		return err
	}
	if answer[0] != keyKnown {
		return errFalseKey
	}
	return nil
}

// ServerHandshake implements credentials.TransportCredentials. The caller has set a deadline.
func (k *keyed) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := k.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	first := make([]byte, len(keyMagic))
	if _, err := io.ReadFull(c, first); err != nil {
		c.Close()
		return nil, nil, err
	}
	if string(first) != keyMagic {
		return &begun{c, first}, keyInfo{info, nil}, nil
	}
	key, err := k.ask(c)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, keyInfo{info, key}, nil
}

// ask is the listener's side of the exchange, behind the magic. It returns the key that was shown.
func (k *keyed) ask(c net.Conn) ([]byte, error) {
	begin := make([]byte, keyIDBytes+nonceBytes)
	if _, err := io.ReadFull(c, begin); err != nil {
		return nil, err
	}
	id, theirs, mine := begin[:keyIDBytes], begin[keyIDBytes:], make([]byte, nonceBytes)
	var key []byte
	for _, one := range k.keys {
		if hmac.Equal(id, keyID(one)) {
			key = one
		}
	}
	if key == nil {
		if k.some {
			c.Write([]byte{keyNone})
		} else {
			c.Write([]byte{keyUnknown})
		}
		return nil, errUnknownKey
	}
	rand.Read(mine) // never fails
	answer := bytes.Join([][]byte{{keyKnown}, mine, keyProof(key, "listener", theirs, mine)}, nil)
	if _, err := c.Write(answer); err != nil {
		return nil, err
	}
	proof := make([]byte, proofBytes)
	if _, err := io.ReadFull(c, proof); err != nil {
		return nil, err
	}
	if !hmac.Equal(proof, keyProof(key, "dialer", theirs, mine)) {
		return nil, errFalseKey
	}
	_, err := c.Write([]byte{keyKnown})
	return key, err
}

// begun is a connection of which the first bytes were read.
type begun struct {
	net.Conn
	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}
