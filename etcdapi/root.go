package etcdapi

import (
	"context"
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
}

// Root says whether somebody may do what the role root may. enabled is false while users and roles are not: then nobody
// is root. The error has the words and the code of etcd, where etcd has some. A refusal counts as for any request.
// Where users and roles may be enabled though this node does not show it yet, nobody is root, and enabled is true.
func (a *API) Root(ctx context.Context, shown RootShown) (user string, enabled bool, err error) {
	now := a.store.Auth()
	if !now.Enabled() {
		hidden := a.hidden()
		return "", hidden != nil, hidden
	}
	up := &catchUp{barrier: a.barrier}
	user, err = a.root(ctx, &shown, up)
	if err != nil && !up.tried && up.try(ctx) == nil {
		user, err = a.root(ctx, &shown, up)
	}
	return user, a.store.Auth().Enabled() || a.hidden() != nil, a.statusOf(ctx, err)
}

// RootAsked reports whether users and roles say who may do what only root may, by what this node has: it waits for
// nothing.
func (a *API) RootAsked() bool { return a.store.Auth().Enabled() || a.hidden() != nil }

// root is Root of those who are root by what is applied here.
func (a *API) root(ctx context.Context, shown *RootShown, up *catchUp) (user string, err error) {
	began := a.clock.Now()
	may := func(s *auth.State, id auth.Identity) error {
		err := s.Admin(id)
		if err == nil && shown.Fresh && s.Enabled() && id.Revision < s.Revision() {
			err = command.ErrAuthOldRevision
		}
		return err
	}
	wait := func() error { return up.try(ctx) }
	for _, text := range shown.Tokens {
		id, refused := a.judged(func(s *auth.State) (auth.Identity, bool, error) {
			return a.bearer(s, text, began)
		}, may, wait)
		if refused == nil {
			return id.User, nil
		}
		if err == nil {
			err = refused
		}
	}
	if len(shown.Tokens) > 0 {
		return "", err
	}
	id, err := a.judged(func(s *auth.State) (auth.Identity, bool, error) {
		if !a.commonNames || shown.CommonName == "" {
			return auth.Identity{}, false, nil
		}
		return auth.Identity{User: shown.CommonName, Revision: s.Revision()}, false, nil
	}, may, wait)
	return id.User, err
}

// hidden says why users and roles may be enabled although this node shows that they are not; nil if that cannot be.
func (a *API) hidden() error {
	h := a.replicator.Health()
	if h.Late != nil && a.replicator.Decided(usersCommand) {
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
func (a *API) isOperator(ctx context.Context) bool { return a.operator != nil && a.operator(ctx) }

// mayOperate returns nil for whoever may do what operators do: root, and who is an operator by a rule of this node.
func (a *API) mayOperate(ctx context.Context) error {
	_, err := a.operates(ctx)
	return err
}

// operates is asks for what operators do. What an operator by a rule orders is applied as a decision of the server; as
// long as there never were users, as anybody's, which nodes of before understand.
func (a *API) operates(ctx context.Context) (asker, error) {
	if a.isOperator(ctx) {
		return asker{own: a.store.Auth().Enabled() || a.replicator.Decided(usersCommand)}, nil
	}
	return a.asks(ctx, isRoot)
}
