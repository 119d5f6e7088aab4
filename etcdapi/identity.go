package etcdapi

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

// gatewayMark is metadata that a JSON gateway sends, this one and others: the certificate of its connection is the
// gateway's and not that of who asks.
const gatewayMark = "grpcgateway-accept"

// right says whether somebody may do what was asked, as far as is applied here.
type right func(*auth.State, auth.Identity) error

// mayDo is the right to do a request.
func (a *API) mayDo(r proto.Message) right {
	return func(s *auth.State, id auth.Identity) error { return s.Check(id, r, a.attached) }
}

// isRoot is the right of the role root, and isSomebody that of whoever says who asks.
func isRoot(s *auth.State, id auth.Identity) error { return s.Admin(id) }

func isSomebody(s *auth.State, id auth.Identity) error {
	if s.Enabled() && id == (auth.Identity{}) {
		return command.ErrUserEmpty
	}
	return nil
}

// attached calls visit with the keys of a lease.
func (a *API) attached(lease int64, visit func(key []byte) error) error {
	_, keys, _ := a.store.Lease(lease)
	for _, key := range keys {
		if err := visit(key); err != nil {
			return err
		}
	}
	return nil
}

// permitted returns who asks if he may. A refusal counts only when this node has what the primary had when it was
// asked, or that cannot be found out: he may have been given the right a moment ago, elsewhere.
func (a *API) permitted(ctx context.Context, may right) (auth.Identity, error) {
	return a.permittedSince(ctx, a.clock.Now(), may)
}

// permittedSince is permitted on a stream that began at a time.
func (a *API) permittedSince(ctx context.Context, began time.Time, may right) (auth.Identity, error) {
	id, err := a.judge(ctx, began, may)
	if err == nil {
		return id, nil
	}
	if a.barrier(ctx) == nil {
		id, err = a.judge(ctx, began, may)
	}
	return id, a.statusOf(ctx, err)
}

// judge is permitted by what is applied here.
func (a *API) judge(ctx context.Context, began time.Time, may right) (auth.Identity, error) {
	id, err := a.identity(ctx, a.store.Auth(), began)
	if err != nil {
		return auth.Identity{}, err
	}
	return id, may(a.store.Auth(), id) // which the token may have waited for
}

// since refuses what was read if users or roles have changed since a revision, which is 0 if nobody asked.
func (a *API) since(revision uint64) error {
	if now := a.store.Auth(); revision != 0 && now.Enabled() && revision != now.Revision() {
		return command.ErrAuthOldRevision
	}
	return nil
}

// identity says who asks: by a token, or else by the certificate of the connection, where all clients have one. As long
// as everybody may do everything, nobody asks.
func (a *API) identity(ctx context.Context, s *auth.State, began time.Time) (auth.Identity, error) {
	if !s.Enabled() {
		return auth.Identity{}, nil
	}
	texts := metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameGRPC)
	if len(texts) == 0 {
		texts = metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameSwagger)
	}
	if len(texts) > 0 {
		return a.bearer(ctx, s, strings.TrimPrefix(texts[0], "Bearer "), began)
	}
	if name, ok := a.certified(ctx); ok {
		return auth.Identity{User: name, Revision: s.Revision()}, nil
	}
	return auth.Identity{}, nil
}

// bearer says whose a token is. A token that was made at a state which is not here yet waits for it.
func (a *API) bearer(
	ctx context.Context, s *auth.State, text string, began time.Time,
) (auth.Identity, error) {
	claim, err := a.tokens.Read(s, text, began)
	if claim.Assigned > s.Revision() {
		if err := a.barrier(ctx); err != nil {
			return auth.Identity{}, err
		}
		claim, err = a.tokens.Read(a.store.Auth(), text, began)
	}
	if err != nil {
		return auth.Identity{}, command.ErrInvalidAuthToken
	}
	return auth.Identity{User: claim.User, Revision: claim.Revision}, nil
}

// certified returns the common name of the certificate that a connection has shown.
func (a *API) certified(ctx context.Context) (name string, ok bool) {
	if !a.commonNames {
		return "", false
	}
	from, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return "", false
	}
	secure, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(metadata.ValueFromIncomingContext(ctx, gatewayMark)) > 0 {
		return "", false
	}
	for _, chain := range secure.State.VerifiedChains {
		if len(chain) > 0 {
			return chain[0].Subject.CommonName, true
		}
	}
	return "", false
}

// Root says whether somebody may do what the role root may: who shows a token, or else, with "", a certificate that was
// verified and has a common name, as far as such names count here. enabled is false while users and roles are not: then
// nobody is root. The error says in the words of etcd what is wrong.
func (a *API) Root(ctx context.Context, text, commonName string) (user string, enabled bool, err error) {
	s := a.store.Auth()
	if !s.Enabled() {
		return "", false, rpctypes.ErrAuthNotEnabled
	}
	id := auth.Identity{}
	switch {
	case text != "":
		if id, err = a.bearer(ctx, s, strings.TrimPrefix(text, "Bearer "), a.clock.Now()); err != nil {
			return "", true, a.statusOf(ctx, err)
		}
	case a.commonNames:
		id = auth.Identity{User: commonName, Revision: s.Revision()}
	}
	if err := s.Admin(id); err != nil {
		return id.User, true, a.statusOf(ctx, err)
	}
	return id.User, true, nil
}

// isOutdated reports whether a write was refused where it was applied because this node judged by a state of before.
func isOutdated(err error, id auth.Identity) bool {
	return errors.Is(err, command.ErrAuthOldRevision) ||
		errors.Is(err, command.ErrUserEmpty) && id == (auth.Identity{})
}

var _ token.Users = (*auth.State)(nil)
