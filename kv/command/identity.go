package command

import (
	"encoding/binary"
	"fmt"
)

// Identity is who asks for a command: a user, and the auth revision at which that was found out. Zero is nobody.
type Identity struct {
	User     string
	Revision uint64
}

// An envelope is tagIdentity, the length of a user's name as uvarint, the name, the revision as uvarint, and a command
// that is no envelope. Without a name and a revision it says that the server itself has decided on the command.

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
	out := make([]byte, 1, 1+2*binary.MaxVarintLen64+len(id.User)+len(p))
	out[0] = byte(tagIdentity)
	out = binary.AppendUvarint(out, uint64(len(id.User)))
	out = append(out, id.User...)
	out = binary.AppendUvarint(out, id.Revision)
	return append(out, p...)
}

// Unwrap returns the command in an envelope, and whose it is; of any other command itself, and nobody. own tells that
// the envelope says that the server decided on it, or that it comes from an etcd that is followed. What it returns
// aliases p. The error is ErrMalformed.
func Unwrap(p []byte) (inner []byte, id Identity, own bool, err error) {
	if len(p) > 0 && tag(p[0]) == tagFollowed {
		inner, _, err = unwrapFollowed(p)
		return inner, id, err == nil, err
	}
	if len(p) == 0 || tag(p[0]) != tagIdentity {
		return p, id, false, nil
	}
	rest := p[1:]
	length, n := binary.Uvarint(rest)
	if n <= 0 || length > uint64(len(rest)-n) {
		return nil, id, false, fmt.Errorf("%w: identity: name of %d bytes", ErrMalformed, length)
	}
	id.User, rest = string(rest[n:n+int(length)]), rest[n+int(length):]
	id.Revision, n = binary.Uvarint(rest)
	if n <= 0 || len(rest) == n || tag(rest[n]) == tagIdentity || tag(rest[n]) == tagFollowed {
		return nil, Identity{}, false, fmt.Errorf("%w: identity without a command", ErrMalformed)
	}
	return rest[n:], id, id == (Identity{}), nil
}
