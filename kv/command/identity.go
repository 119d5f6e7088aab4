package command

import (
	"encoding/binary"
	"fmt"
)

// Identity is who asks for a command: a user, and the revision of users and roles at which that was found out. Zero is
// nobody.
//
// What the node that proposes a command knows of users may be old, so that an identity says what it stands on, and the
// command is judged where it is applied: by Basis whether whoever asks is the user still, and by the rights of that
// moment what he may. Where it says neither Basis nor Present it is a token that says itself of which revision it is (a
// JWT), or one of a node that does not know of either: it counts for keys only while no revision is newer, and for what
// only root may whatever the revision is, as in etcd.
type Identity struct {
	User     string
	Revision uint64
	// Basis is the password that was shown, as auth.State.Basis says it; zero: none was, or that is not known. It
	// counts only while it is that of the user.
	Basis Basis
	// Present says that what was shown is of no revision, so that none makes it old: the token counts as long as its
	// user has the password, or a certificate says the name.
	Present bool
}

// Basis says of a password of a user, and of the key of tokens, which they are, to whoever knows both. It tells nothing
// of either.
type Basis = [16]byte

// Based reports whether an identity says what it stands on, and not its revision alone.
func (id Identity) Based() bool { return id.Present || id.Basis != Basis{} }

// Plain returns the identity as nodes know it that do not know of a Basis: see NeedsBasis.
func (id Identity) Plain() Identity { return Identity{User: id.User, Revision: id.Revision} }

// An envelope is tagIdentity, the length of a user's name as uvarint, the name, the revision as uvarint, and a command
// that is no envelope. Without a name and a revision it says that the server itself has decided on the command. One of
// tagBased has a name, and between the revision and the command a byte of flags and, if it says so, the basis.

const (
	flagPresent = 1
	flagBasis   = 2
)

// EncodeAs returns the command that does what p does for id, or p itself if that is nobody.
func EncodeAs(id Identity, p []byte) []byte {
	if id == (Identity{}) {
		return p
	}
	return envelope(id, p)
}

// EncodeOwn returns the command that does what p does because the server itself has decided on it. Nobody's right is
// asked for. It must not be made of what a client sends. As long as nobody has to have rights, p alone does the same,
// and is what nodes of before understand.
func EncodeOwn(p []byte) []byte { return envelope(Identity{}, p) }

func envelope(id Identity, p []byte) []byte {
	out := make([]byte, 1, 1+2*binary.MaxVarintLen64+len(id.User)+1+len(id.Basis)+len(p))
	out[0] = byte(tagIdentity)
	out = binary.AppendUvarint(out, uint64(len(id.User)))
	out = append(out, id.User...)
	out = binary.AppendUvarint(out, id.Revision)
	if id.Based() {
		out[0] = byte(tagBased)
		out = id.appendBasis(out)
	}
	return append(out, p...)
}

func (id Identity) appendBasis(out []byte) []byte {
	at := len(out)
	out = append(out, 0)
	if id.Present {
		out[at] |= flagPresent
	}
	if id.Basis != (Basis{}) {
		out[at] |= flagBasis
		out = append(out, id.Basis[:]...)
	}
	return out
}

// decodeBasis takes what appendBasis has appended from the beginning of p, and returns the rest; nil if it is not that.
func (id *Identity) decodeBasis(p []byte) []byte {
	if len(p) == 0 || p[0] == 0 || p[0] > flagPresent|flagBasis {
		return nil
	}
	flags, p := p[0], p[1:]
	id.Present = flags&flagPresent != 0
	if flags&flagBasis != 0 {
		if len(p) < len(id.Basis) || Basis(p[:len(id.Basis)]) == (Basis{}) {
			return nil
		}
		id.Basis, p = Basis(p[:len(id.Basis)]), p[len(id.Basis):]
	}
	return p
}

// head splits an envelope behind its revision. ok is false if it does not come so far.
func head(p []byte) (name []byte, revision uint64, rest []byte, ok bool) {
	length, n := binary.Uvarint(p[1:])
	if n <= 0 || length > uint64(len(p)-1-n) {
		return nil, 0, nil, false
	}
	rest = p[1+n:]
	name, rest = rest[:length], rest[length:]
	revision, n = binary.Uvarint(rest)
	if n <= 0 {
		return nil, 0, nil, false
	}
	return name, revision, rest[n:], true
}

// Unwrap returns the command in an envelope, and whose it is; of any other command itself, and nobody. own tells that
// the envelope says that the server decided on it, or that it comes from an etcd that is followed. What it returns
// aliases p. The error is ErrMalformed.
func Unwrap(p []byte) (inner []byte, id Identity, own bool, err error) {
	if len(p) == 0 || !isEnvelope(tag(p[0])) {
		return p, id, false, nil
	}
	if tag(p[0]) == tagFollowed {
		inner, _, err = unwrapFollowed(p)
		return inner, id, err == nil, err
	}
	name, revision, rest, ok := head(p)
	if !ok {
		return nil, id, false, fmt.Errorf("%w: identity of %d bytes", ErrMalformed, len(p))
	}
	id.User, id.Revision = string(name), revision
	if tag(p[0]) == tagBased {
		if rest = id.decodeBasis(rest); id.User == "" {
			rest = nil
		}
	}
	if len(rest) == 0 || isEnvelope(tag(rest[0])) {
		return nil, Identity{}, false, fmt.Errorf("%w: identity without a command", ErrMalformed)
	}
	return rest, id, id == (Identity{}), nil
}

func isEnvelope(t tag) bool { return t == tagIdentity || t == tagFollowed || t == tagBased }

// NeedsBasis reports whether nodes must know on what somebody stands who asks for a command, or that the key of tokens
// can be made anew, to do it as others do.
func NeedsBasis(p []byte) bool {
	if len(p) > 0 && tag(p[0]) == tagIdentity {
		_, _, p, _ = head(p)
	}
	return len(p) > 0 && (tag(p[0]) == tagBased || tag(p[0]) == tagAuthRenew)
}
