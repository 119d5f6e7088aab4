package command

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// AuthEnable is the request to enable authentication, with what tokens are signed with from then on.
type AuthEnable struct {
	TokenKey []byte // TokenKeyBytes random ones, which whoever proposes it has made
	// Renews has the key take the place of the one that there is, also where authentication is enabled already: what
	// was made by that one ends. It is for nodes that know of it: see NeedsBasis.
	Renews bool
}

// TokenKeyBytes is how long the key is that tokens are signed with.
const TokenKeyBytes = 32

// tokenKeyField is the number of a field that AuthEnableRequest does not have.
const tokenKeyField = 1001

// EncodeAuthEnable returns the command that enables authentication. If it is enabled already it changes nothing, the
// key included, unless that is renewed.
func EncodeAuthEnable(r AuthEnable) []byte {
	t := tagAuthEnable
	if r.Renews {
		t = tagAuthRenew
	}
	p := protowire.AppendTag([]byte{byte(t)}, tokenKeyField, protowire.BytesType)
	return protowire.AppendBytes(p, r.TokenKey)
}

func decodeAuthEnable(t tag, p []byte) (*AuthEnable, error) {
	r := &AuthEnable{Renews: t == tagAuthRenew}
	for len(p) > 0 {
		field, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return nil, fmt.Errorf("%w: auth enable: %w", ErrMalformed, protowire.ParseError(n))
		}
		value := p[n:]
		if n = protowire.ConsumeFieldValue(field, kind, value); n < 0 {
			return nil, fmt.Errorf("%w: auth enable: %w", ErrMalformed, protowire.ParseError(n))
		}
		if field == tokenKeyField && kind == protowire.BytesType {
			r.TokenKey, _ = protowire.ConsumeBytes(value)
		}
		p = value[n:]
	}
	if len(r.TokenKey) != TokenKeyBytes {
		return nil, fmt.Errorf("%w: auth enable: a key of %d bytes", ErrMalformed, len(r.TokenKey))
	}
	return r, nil
}

// authMessages are the other requests that change users and roles, by the tags of their commands.
var authMessages = map[tag]func() proto.Message{
	tagAuthDisable:        func() proto.Message { return new(pb.AuthDisableRequest) },
	tagUserAdd:            func() proto.Message { return new(pb.AuthUserAddRequest) },
	tagUserDelete:         func() proto.Message { return new(pb.AuthUserDeleteRequest) },
	tagUserChangePassword: func() proto.Message { return new(pb.AuthUserChangePasswordRequest) },
	tagUserGrantRole:      func() proto.Message { return new(pb.AuthUserGrantRoleRequest) },
	tagUserRevokeRole:     func() proto.Message { return new(pb.AuthUserRevokeRoleRequest) },
	tagRoleAdd:            func() proto.Message { return new(pb.AuthRoleAddRequest) },
	tagRoleDelete:         func() proto.Message { return new(pb.AuthRoleDeleteRequest) },
	tagRoleGrant:          func() proto.Message { return new(pb.AuthRoleGrantPermissionRequest) },
	tagRoleRevoke:         func() proto.Message { return new(pb.AuthRoleRevokePermissionRequest) },
}

func authTag(r proto.Message) (tag, bool) {
	switch r.(type) {
	case *pb.AuthDisableRequest:
		return tagAuthDisable, true
	case *pb.AuthUserAddRequest:
		return tagUserAdd, true
	case *pb.AuthUserDeleteRequest:
		return tagUserDelete, true
	case *pb.AuthUserChangePasswordRequest:
		return tagUserChangePassword, true
	case *pb.AuthUserGrantRoleRequest:
		return tagUserGrantRole, true
	case *pb.AuthUserRevokeRoleRequest:
		return tagUserRevokeRole, true
	case *pb.AuthRoleAddRequest:
		return tagRoleAdd, true
	case *pb.AuthRoleDeleteRequest:
		return tagRoleDelete, true
	case *pb.AuthRoleGrantPermissionRequest:
		return tagRoleGrant, true
	case *pb.AuthRoleRevokePermissionRequest:
		return tagRoleRevoke, true
	}
	return 0, false
}

// EncodeAuth returns the command that does r, one of the requests of etcd's Auth that change something, but for
// AuthEnableRequest. A password is hashed by whoever proposes it: HashedPassword is the Base64 of what bcrypt made of
// it, and a Password is ErrMalformed, as is a name that is not UTF-8.
func EncodeAuth(r proto.Message) ([]byte, error) {
	t, ok := authTag(r)
	if !ok {
		return nil, fmt.Errorf("%w: %T changes no users or roles", ErrMalformed, r)
	}
	if plain, ok := r.(interface{ GetPassword() string }); ok && plain.GetPassword() != "" {
		return nil, fmt.Errorf("%w: %T with a password that is not hashed", ErrMalformed, r)
	}
	p, err := deterministic.MarshalAppend([]byte{byte(t)}, r)
	if err != nil {
		return nil, fmt.Errorf("%w: %T: %w", ErrMalformed, r, err)
	}
	return p, nil
}

// DecodeAuthResult decodes the result of a command of EncodeAuth or EncodeAuthEnable into the response to it.
func DecodeAuthResult[M proto.Message](p []byte, into M) (M, error) { return decodeResult(p, into) }

// NeedsUsers reports whether nodes must know of users and roles to do a command.
func NeedsUsers(p []byte) bool { return len(p) > 0 && tag(p[0]) >= tagIdentity }

// Redact leaves out of a decoded command what nobody should read: passwords, hashed ones too, and keys.
func Redact(r proto.Message) proto.Message {
	switch r := r.(type) {
	case *pb.AuthUserAddRequest:
		return &pb.AuthUserAddRequest{Name: r.Name, Options: r.Options}
	case *pb.AuthUserChangePasswordRequest:
		return &pb.AuthUserChangePasswordRequest{Name: r.Name}
	}
	return r
}
