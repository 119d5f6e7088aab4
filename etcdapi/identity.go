package etcdapi

import (
	"context"
	"errors"
	"log/slog"
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
	replicator  Replicator
	operator    func(context.Context) bool // see Options.Operator
	rules       func() bool                // see Options.Rules
	logger      *slog.Logger

	orderPatience time.Duration // loginPatience
}

// right says whether somebody may do what was asked, as far as is applied here.
type right func(*auth.State, auth.Identity) error

// mayDo is the right to do a request, for as long as ctx is not over.
func (g *guard) mayDo(ctx context.Context, r proto.Message) right {
	attached := kv.LeaseKeys{Store: g.store}.While(ctx)
	return func(s *auth.State, id auth.Identity) error { return s.Check(id, r, attached) }
}

// isRoot is the right of the role root, and isSomebody that of whoever says who asks.
func isRoot(s *auth.State, id auth.Identity) error { return s.Admin(id) }

func isSomebody(s *auth.State, id auth.Identity) error {
	if s.Enabled() && id == (auth.Identity{}) {
		return command.ErrUserEmpty
	}
	return s.Stands(id)
}

// permitted returns who asks if he may. A refusal counts only when this node has what the primary had when it was
// asked, or that cannot be found out: he may have been given the right a moment ago, elsewhere.
func (g *guard) permitted(ctx context.Context, may right) (auth.Identity, error) {
	return g.permittedSince(ctx, g.clock.Now(), may)
}

// permittedSince is permitted on a stream that began at a time.
func (g *guard) permittedSince(ctx context.Context, began time.Time, may right) (auth.Identity, error) {
	id, err, _ := g.confirmed(ctx, began, may)
	return id, err
}

// confirmed is permittedSince. unsure says why a refusal could not be confirmed, nil if it was.
func (g *guard) confirmed(ctx context.Context, began time.Time, may right) (id auth.Identity, err, unsure error) {
	up := &catchUp{barrier: g.barrier}
	if id, err = g.judge(ctx, began, may, up); err == nil {
		return id, nil, nil
	}
	if !up.tried {
		if up.try(ctx) == nil {
			id, err = g.judge(ctx, began, may, up)
		}
	}
	if err == nil {
		return id, nil, nil
	}
	return id, g.statusOf(ctx, err), up.err
}

// catchUp has this node wait for what the primary has, once, however often that would be of use for one question.
type catchUp struct {
	barrier func(context.Context) error
	tried   bool
	err     error
}

func (u *catchUp) try(ctx context.Context) error {
	if !u.tried {
		u.tried, u.err = true, u.barrier(ctx)
	}
	return u.err
}

// judge is permitted by what is applied here. Whoever is refused with a token of a later state than that waits for it.
func (g *guard) judge(
	ctx context.Context, began time.Time, may right, up *catchUp,
) (id auth.Identity, err error) {
	return g.judged(func(s *auth.State) (auth.Identity, bool, error) { return g.identity(ctx, s, began) }, may,
		func() error { return up.try(ctx) })
}

// judged judges whoever asks says that he is; later says that by a token which is of a later state. Who is refused is
// returned too, where it is known who that is.
func (g *guard) judged(
	who func(*auth.State) (id auth.Identity, later bool, err error), may right, wait func() error,
) (auth.Identity, error) {
	judge := func() (auth.Identity, bool, error) {
		s := g.store.Auth()
		id, later, err := who(s)
		if err == nil {
			err = may(s, id)
		}
		return id, later, err
	}
	id, later, err := judge()
	if err == nil || !later {
		return id, err
	}
	if err := wait(); err != nil {
		return id, err
	}
	id, _, err = judge()
	return id, err
}

// since refuses what was read if users or roles have changed since a revision, which is 0 if nobody asked.
func (g *guard) since(revision uint64) error {
	if now := g.store.Auth(); revision != 0 && now.Enabled() && revision != now.Revision() {
		return command.ErrAuthOldRevision
	}
	return nil
}

// same refuses what was read if users or roles are others now than those by which somebody was permitted. To enable
// them raises no revision: who was not asked who he is has to say it then. A token may be of a later one than is here.
func (g *guard) same(by *auth.State, id auth.Identity) error {
	if g.store.Auth().Enabled() && !by.Enabled() {
		return command.ErrAuthOldRevision
	}
	return g.since(min(id.Revision, by.Revision()))
}

// identity says who asks: by a token, or else by the certificate of the connection, where all clients have one. As long
// as everybody may do everything, nobody asks. later says that a token was made at a state which is not here yet.
func (g *guard) identity(
	ctx context.Context, s *auth.State, began time.Time,
) (id auth.Identity, later bool, err error) {
	if !s.Enabled() {
		return auth.Identity{}, false, nil
	}
	texts := metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameGRPC)
	if len(texts) == 0 {
		texts = metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameSwagger)
	}
	if len(texts) > 0 {
		return g.bearer(s, texts[0], began, waitingOf(ctx))
	}
	if name, ok := g.certified(ctx); ok {
		return certificateOf(name, s), false, nil
	}
	return auth.Identity{}, false, nil
}

// certificateOf is who has shown a certificate of a common name: it counts, whatever becomes of users, for what he may
// where that is asked.
func certificateOf(name string, s *auth.State) auth.Identity {
	return auth.Identity{User: name, Revision: s.Revision(), Present: true}
}

// bearer says whose a token is, or as whom a request that waits goes on with it.
func (g *guard) bearer(
	s *auth.State, text string, began time.Time, w *waiting,
) (id auth.Identity, later bool, err error) {
	if id, known, err := w.as(s); known {
		return id, false, err
	}
	claim, err := g.tokens.Read(s, strings.TrimPrefix(text, "Bearer "), began)
	later = claim.Assigned > s.Revision()
	if err != nil {
		return auth.Identity{}, later, command.ErrInvalidAuthToken
	}
	id = auth.Identity{User: claim.User, Revision: claim.Revision, Basis: claim.Basis, Present: claim.Present}
	w.read(s, id)
	return id, later, nil
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
			cn := chain[0].Subject.CommonName
			return cn, cn != ""
		}
	}
	return "", false
}

// isOutdated reports whether a write was refused where it was applied because this node judged by a state of before: by
// other rights, another password, or while nobody had to say who asks.
func isOutdated(err error, id auth.Identity) bool {
	return errors.Is(err, command.ErrAuthOldRevision) ||
		errors.Is(err, command.ErrUserEmpty) && id == (auth.Identity{})
}

var _ token.Users = (*auth.State)(nil)
