package etcdapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

// RootShown is what somebody shows who wants to be root: tokens, or else a certificate that was verified and has a
// common name, as far as such names count here.
type RootShown struct {
	Tokens     []string
	CommonName string
	// Fresh refuses a token that says itself that it was made before the last change of users or roles. As in etcd such
	// a one counts else, for what only root may do, until it expires.
	Fresh bool
	// Sure has the primary say whether who is root by what is here still is, where it can be asked.
	Sure bool
}

// Root says whether somebody may do what the role root may. enabled is false while users and roles are not: then nobody
// is root. The error has the words and the code of etcd, where etcd has some; user is who was refused, as far as he
// showed that. A refusal counts as for any request. Where users and roles may be enabled though this node does not show
// it yet, nobody is root, and enabled is true.
func (g *guard) Root(ctx context.Context, shown RootShown) (user string, enabled bool, err error) {
	now := g.store.Auth()
	if !now.Enabled() {
		hidden := hidden(g.replicator)
		return "", hidden != nil, hidden
	}
	judge := func() (auth.Identity, error) {
		up := &catchUp{barrier: g.barrier}
		id, err := g.root(ctx, &shown, up)
		if err != nil && !up.tried && up.try(ctx) == nil {
			id, err = g.root(ctx, &shown, up)
		}
		return id, g.statusOf(ctx, err)
	}
	if !shown.Sure {
		id, err := judge()
		return id.User, g.store.Auth().Enabled() || hidden(g.replicator) != nil, err
	}
	id, err, unheard := g.assured(ctx, judge, shown.Fresh)
	if errors.Is(err, errDisabled) {
		return "", false, nil
	}
	g.tellUnheard(id, err, unheard)
	return id.User, g.store.Auth().Enabled() || hidden(g.replicator) != nil, err
}

// RootAsked reports whether users and roles say who may do what only root may, by what this node has: it waits for
// nothing.
func (g *guard) RootAsked() bool { return g.store.Auth().Enabled() || hidden(g.replicator) != nil }

// root is Root of those who are root by what is applied here; with an error it returns who was refused first.
func (g *guard) root(ctx context.Context, shown *RootShown, up *catchUp) (first auth.Identity, err error) {
	began := g.clock.Now()
	may := func(s *auth.State, id auth.Identity) error {
		err := s.Admin(id)
		if err == nil && shown.Fresh && s.Enabled() && id.Revision < s.Revision() {
			err = command.ErrAuthOldRevision
		}
		return err
	}
	wait := func() error { return up.try(ctx) }
	for _, text := range shown.Tokens {
		id, refused := g.judged(func(s *auth.State) (auth.Identity, bool, error) {
			return g.bearer(s, text, began, nil)
		}, may, wait)
		if refused == nil {
			return id, nil
		}
		if first = cmp.Or(first, id); err == nil {
			err = refused
		}
	}
	if len(shown.Tokens) > 0 {
		return first, err
	}
	return g.judged(func(s *auth.State) (auth.Identity, bool, error) {
		if !g.commonNames || shown.CommonName == "" {
			return auth.Identity{}, false, nil
		}
		return certificateOf(shown.CommonName, s), false, nil
	}, may, wait)
}

// hidden says why users and roles may be enabled although this node shows that they are not; nil if that cannot be.
func hidden(r Replicator) error {
	h := r.Health()
	if h.Late != nil && r.Decided(usersCommand) {
		return status.Error(codes.FailedPrecondition, fmt.Sprintf("mimir: region %s shows its history late, and there "+
			"were users and roles in it: who is root now is not known here; say who is an operator by "+
			"operator.allowed-cn or operator.token-file, or ask another region", h.Region))
	}
	if h.Epoch != 0 {
		return nil
	}
	for i := range h.Peers {
		p := &h.Peers[i]
		if p.Epoch != 0 || p.LastHeard != nil && p.LastHeard.Epoch != 0 {
			return status.Error(codes.FailedPrecondition, fmt.Sprintf("mimir: region %s has no copy of the fleet's "+
				"history yet, and does not know who is root: ask region %s", h.Region, p.ID))
		}
	}
	return nil
}

// usersCommand stands for all commands about users and roles.
var usersCommand = command.EncodeAuthEnable(command.AuthEnable{})

// isOperator reports whether a rule of this node, outside of users and roles, says that whoever asks is an operator.
func (g *guard) isOperator(ctx context.Context) bool { return g.operator != nil && g.operator(ctx) }

// mayOperate returns nil for whoever may do what operators do with this node alone: root, by what is here, and who is
// an operator by a rule of this node. See mayOrder.
func (g *guard) mayOperate(ctx context.Context) error {
	if g.isOperator(ctx) {
		return nil
	}
	_, err := g.permitted(ctx, isRoot)
	return err
}

// operates is commands for what operators do. What an operator by a rule orders is applied as a decision of the server;
// as long as there never were users, as anybody's, which nodes of before understand.
func (g *guard) operates(ctx context.Context) (asker, error) {
	if g.isOperator(ctx) {
		return g.itself(), nil
	}
	return g.commands(ctx, isRoot)
}

// itself is who asks for what the server does in nobody's name.
func (g *guard) itself() asker { return asker{own: g.hadUsers()} }

// hadUsers reports whether there are users and roles, or ever were, as far as this node knows.
func (g *guard) hadUsers() bool {
	return g.store.Auth().Enabled() || g.replicator.Decided(usersCommand)
}
