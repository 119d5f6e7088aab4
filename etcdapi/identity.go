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
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/clock"
)

// gatewayMark is metadata that a JSON gateway sends, this one and others: the certificate of its connection is the
// gateway's and not that of who asks.
const gatewayMark = "grpcgateway-accept"

// guard says who asks, and whether he may. It is safe for concurrent use.
type guard struct {
	store       *kv.Store
	tokens      token.Tokens
	commonNames bool // of certificates count
	clock       clock.Clock
	barrier     func(context.Context) error
	statusOf    func(context.Context, error) error
}

// right says whether somebody may do what was asked, as far as is applied here.
type right func(*auth.State, auth.Identity) error

// mayDo is the right to do a request.
func (g *guard) mayDo(r proto.Message) right {
	return func(s *auth.State, id auth.Identity) error { return s.Check(id, r, g.attached) }
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
func (g *guard) attached(lease int64, visit func(key []byte) error) error {
	_, keys, _ := g.store.Lease(lease)
	for _, key := range keys {
		if err := visit(key); err != nil {
			return err
		}
	}
	return nil
}

// permitted returns who asks if he may. A refusal counts only when this node has what the primary had when it was
// asked, or that cannot be found out: he may have been given the right a moment ago, elsewhere.
func (g *guard) permitted(ctx context.Context, may right) (auth.Identity, error) {
	return g.permittedSince(ctx, g.clock.Now(), may)
}

// permittedSince is permitted on a stream that began at a time.
func (g *guard) permittedSince(ctx context.Context, began time.Time, may right) (auth.Identity, error) {
	id, err := g.judge(ctx, began, may)
	if err == nil {
		return id, nil
	}
	if g.barrier(ctx) == nil {
		id, err = g.judge(ctx, began, may)
	}
	return id, g.statusOf(ctx, err)
}

// judge is permitted by what is applied here.
func (g *guard) judge(ctx context.Context, began time.Time, may right) (auth.Identity, error) {
	id, err := g.identity(ctx, g.store.Auth(), began)
	if err != nil {
		return auth.Identity{}, err
	}
	return id, may(g.store.Auth(), id) // which the token may have waited for
}

// since refuses what was read if users or roles have changed since a revision, which is 0 if nobody asked.
func (g *guard) since(revision uint64) error {
	if now := g.store.Auth(); revision != 0 && now.Enabled() && revision != now.Revision() {
		return command.ErrAuthOldRevision
	}
	return nil
}

// identity says who asks: by a token, or else by the certificate of the connection, where all clients have one. As long
// as everybody may do everything, nobody asks.
func (g *guard) identity(ctx context.Context, s *auth.State, began time.Time) (auth.Identity, error) {
	if !s.Enabled() {
		return auth.Identity{}, nil
	}
	texts := metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameGRPC)
	if len(texts) == 0 {
		texts = metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameSwagger)
	}
	if len(texts) > 0 {
		return g.bearer(ctx, s, strings.TrimPrefix(texts[0], "Bearer "), began)
	}
	if name, ok := g.certified(ctx); ok {
		return auth.Identity{User: name, Revision: s.Revision()}, nil
	}
	return auth.Identity{}, nil
}

// bearer says whose a token is. A token that was made at a state which is not here yet waits for it.
func (g *guard) bearer(
	ctx context.Context, s *auth.State, text string, began time.Time,
) (auth.Identity, error) {
	claim, err := g.tokens.Read(s, text, began)
	if claim.Assigned > s.Revision() {
		if err := g.barrier(ctx); err != nil {
			return auth.Identity{}, err
		}
		claim, err = g.tokens.Read(g.store.Auth(), text, began)
	}
	if err != nil {
		return auth.Identity{}, command.ErrInvalidAuthToken
	}
	return auth.Identity{User: claim.User, Revision: claim.Revision}, nil
}

// certified returns the common name of the certificate that a connection has shown.
func (g *guard) certified(ctx context.Context) (name string, ok bool) {
	if !g.commonNames {
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

// Root says whether somebody may do what the root role may: who shows a token, or else, with "", a certificate that was
// verified and has a common name, as far as such names count here. enabled is false while users and roles are not: then
// nobody is root. The error has the words and the code of etcd. A refusal counts as for any request.
func (g *guard) Root(ctx context.Context, text, commonName string) (user string, enabled bool, err error) {
	user, err = g.rootNow(ctx, text, commonName)
	if err != nil && g.store.Auth().Enabled() && g.barrier(ctx) == nil {
		user, err = g.rootNow(ctx, text, commonName)
	}
	return user, !errors.Is(err, command.ErrAuthNotEnabled), g.statusOf(ctx, err)
}

// rootNow is Root by what is applied here.
func (g *guard) rootNow(ctx context.Context, text, commonName string) (user string, err error) {
	s := g.store.Auth()
	if !s.Enabled() {
		return "", command.ErrAuthNotEnabled
	}
	id := auth.Identity{}
	switch {
	case text != "":
		if id, err = g.bearer(ctx, s, strings.TrimPrefix(text, "Bearer "), g.clock.Now()); err != nil {
			return "", err
		}
	case g.commonNames:
		id = auth.Identity{User: commonName, Revision: s.Revision()}
	}
	return id.User, g.store.Auth().Admin(id)
}

// isOutdated reports whether a write was refused where it was applied because this node judged by a state of before.
func isOutdated(err error, id auth.Identity) bool {
	return errors.Is(err, command.ErrAuthOldRevision) ||
		errors.Is(err, command.ErrUserEmpty) && id == (auth.Identity{})
}

var _ token.Users = (*auth.State)(nil)
