package atrest

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
)

const (
	keyBytes = 32
	idBytes  = 8
	// plainWord stands in a file of keys where the first key would, if new files are to be plain.
	plainWord = "plain"
)

// KeyID names a key, and is derived from it: one ID is never two keys.
type KeyID [idBytes]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

type key struct {
	id     KeyID
	secret []byte
}

// Keys are the keys that are at hand. The zero value has none, and writes plain files.
type Keys struct {
	active *key // nil: new files are plain
	all    map[KeyID]*key
}

// ParseKeys reads a file of keys: one a line, 64 hexadecimal digits; the first is the active one, under which files are
// written, and the others only read. The word "plain" may stand first: then files are written plain. Empty lines and
// those that begin with # are left out. Errors tell lines by number and never quote them.
func ParseKeys(text []byte) (Keys, error) {
	keys := Keys{all: map[KeyID]*key{}}
	number, entries := 0, 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
			continue
		case string(line) == plainWord && entries == 0:
			entries++
			continue
		case string(line) == plainWord:
			return Keys{}, fmt.Errorf("line %d: %q must stand before all keys", number, plainWord)
		}
		secret := make([]byte, keyBytes)
		if n, err := hex.Decode(secret, line[:min(len(line), 2*keyBytes)]); err != nil || n != keyBytes ||
			len(line) != 2*keyBytes {
			return Keys{}, fmt.Errorf("line %d: a key is %d hexadecimal digits; `mimir keys new` makes one", number,
				2*keyBytes)
		}
		k, err := newKey(secret)
		if err != nil {
			return Keys{}, err
		}
		if keys.all[k.id] != nil {
			return Keys{}, fmt.Errorf("line %d: key %s for the second time", number, k.id)
		}
		if keys.all[k.id] = k; entries == 0 {
			keys.active = k
		}
		entries++
	}
	if len(keys.all) == 0 {
		return Keys{}, errors.New("no key is in it; `mimir keys new` makes one")
	}
	return keys, nil
}

func newKey(secret []byte) (*key, error) {
	id, err := hkdf.Key(sha256.New, secret, nil, "mimir at rest: id of a key", idBytes)
	if err != nil {
		return nil, err
	}
	return &key{KeyID(id), secret}, nil
}

// NewKey makes a key. It returns the line for the file of keys, and the ID.
func NewKey() (line string, id KeyID) {
	secret := make([]byte, keyBytes)
	rand.Read(secret) // never fails
	k, err := newKey(secret)
	if err != nil {
		panic(err) // only of lengths
	}
	return hex.EncodeToString(secret), k.id
}

// Active returns the key under which files are written; ok is false if they are written plain.
func (k Keys) Active() (id KeyID, ok bool) {
	if k.active == nil {
		return KeyID{}, false
	}
	return k.active.id, true
}

// Has tells whether a key is at hand.
func (k Keys) Has(id KeyID) bool { return k.all[id] != nil }

// of returns the keys of one file.
func (k *key) of(file fileID) ([]byte, error) {
	return hkdf.Key(sha256.New, k.secret, file[:], "mimir at rest: keys of a file", xtsKeyBytes)
}

// keyError says that a file needs a key that is not there.
func keyError(name string, id KeyID) error {
	return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: %s", ErrKey, id)}
}
