package etcdapi

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// A yes of this node is by what it has, and that may be old: the region may be behind, cut off, or show its history
// late. So what is written is judged again where it is applied, by what the command says that whoever asks stands on
// (command.Identity). That is for nodes which know of it, and the first change of users or roles that all of them can
// apply is the first command that says it, or behind one. Until then a command says only a name and a revision, and who
// is root here has to be root by what the primary has before one that root alone may give is proposed. What is no
// write, and no affair of this node alone, has the primary asked: mayOrder and mustOrder.

// idle does nothing, and only root may do it, of whatever revision he is.
var idle = command.EncodeAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_GET})

// basedCommand stands for all commands that say on what somebody stands.
var basedCommand = command.EncodeAs(
	command.Identity{User: auth.Root, Revision: auth.FirstRevision, Present: true}, idle)

// tellsBasis reports whether commands in somebody's name say on what he stands: one did, so every node knows of it.
func (g *guard) tellsBasis(id auth.Identity) bool {
	return id.Based() && g.replicator.Decided(basedCommand)
}

// mayTellBasis returns nil if every node knows of it, and else why not, as far as can be found out at once.
func (g *guard) mayTellBasis(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, understoodWithin)
	defer cancel()
	return g.replicator.Understood(bounded, basedCommand)
}

// beginToTell has a first command say on what somebody stands, before a change of users that does not: by who is an
// operator by a rule, or has a JWT that was made elsewhere. Where it fails the next change does it.
func (g *guard) beginToTell(ctx context.Context, change []byte) {
	if command.NeedsBasis(change) || !g.store.Auth().Enabled() || g.replicator.Decided(basedCommand) ||
		g.mayTellBasis(ctx) != nil {
		return
	}
	_, _ = g.replicator.Propose(ctx, []*replication.Command{{Data: basedCommand}})
}

// commands is asks for what root alone may do with keys and leases of others.
func (g *guard) commands(ctx context.Context, may right) (asker, error) {
	who, err := g.asks(ctx, may)
	if err != nil {
		return who, err
	}
	return g.surely(ctx, who)
}

// changes is operates for what changes users or roles. It may be the first command that says on what somebody stands.
func (g *guard) changes(ctx context.Context) (asker, error) {
	if g.isOperator(ctx) {
		return g.itself(), nil
	}
	who, err := g.asks(ctx, isRoot)
	if err != nil {
		return who, err
	}
	if !who.tells && who.Based() {
		who.tells = g.mayTellBasis(ctx) == nil
	}
	return g.surely(ctx, who)
}

// surely returns who asks once he is root by what the primary has, if he is root and his command does not say on what
// he stands: where it is applied his name would do. Where the region shows its history late that cannot be; then his
// command says it, if every node knows of it, and may be the first one.
func (g *guard) surely(ctx context.Context, who asker) (asker, error) {
	if who.tells || !who.Based() || g.store.Auth().Admin(who.Identity) != nil {
		return who, nil
	}
	behind := g.barrier(ctx)
	if behind == nil {
		return g.asks(ctx, who.may)
	}
	if !isLate(behind) {
		return who, behind
	}
	if why := g.mayTellBasis(ctx); why != nil {
		return who, errNotTold(why)
	}
	who.tells = true
	return who, nil
}

// errNotTold says why root does nothing through a region that shows its history late.
func errNotTold(why error) error {
	return status.Errorf(codes.FailedPrecondition, "mimir: this region shows its history late, so that the primary "+
		"says who is root, which it can once every node of the fleet is of a version that knows of it: ask another "+
		"region, or upgrade that node (%s)", why)
}

// mayOrder returns nil for whoever may order what is the affair of more than this node: who is an operator by a rule of
// the node, and root, if the primary says so too. Where it cannot be asked, who is root by what is here has to do: an
// operator must be able to go on without it.
func (g *guard) mayOrder(ctx context.Context) error {
	if g.isOperator(ctx) {
		return nil
	}
	id, refused, unheard := g.assured(ctx, g.isRootNow(ctx), false)
	g.tellUnheard(id, refused, unheard)
	return g.unlessRuled(refused)
}

// tellUnheard has the log say by whose word alone somebody has ordered something.
func (g *guard) tellUnheard(id auth.Identity, refused, unheard error) {
	if refused == nil && unheard != nil {
		g.logger.Warn("an order goes by what this node has of users and roles: the primary did not say who is root",
			"user", id.User, "err", unheard)
	}
}

// unlessRuled is why somebody may not order something; where users and roles are not enabled any more everybody may
// but where a rule of the node says who is an operator.
func (g *guard) unlessRuled(refused error) error {
	if errors.Is(refused, errDisabled) && (g.rules == nil || !g.rules()) {
		return nil
	}
	return refused
}

// mustOrder is mayOrder for what can wait until there is a primary: without its word nobody is root.
func (g *guard) mustOrder(ctx context.Context) error {
	if g.isOperator(ctx) {
		return nil
	}
	_, refused, unheard := g.assured(ctx, g.isRootNow(ctx), false)
	refused = g.unlessRuled(refused)
	if refused == nil && unheard != nil {
		refused = g.statusOf(ctx, status.Errorf(codes.Unavailable, "mimir: the primary, which knows who is root, "+
			"could not be asked whether whoever asks still is (%s): who is an operator by operator.allowed-cn or "+
			"operator.token-file is one without it", status.Convert(unheard).Message()))
	}
	return refused
}

func (g *guard) isRootNow(ctx context.Context) func() (auth.Identity, error) {
	return func() (auth.Identity, error) { return g.permitted(ctx, isRoot) }
}

// assured has the primary say whether somebody who may order something by what is here may do so still; judge says by
// that who he is. Where this node cannot have what the primary has the primary is asked itself, whatever the reason is:
// a region that is behind for long may reach it. refused is nil if he may, as far as could be found out; unheard says
// then why the primary did not say it. Who does not wait for that may not. fresh is as in RootShown.
func (g *guard) assured(
	ctx context.Context, judge func() (auth.Identity, error), fresh bool,
) (id auth.Identity, refused, unheard error) {
	id, refused, unheard = g.heard(ctx, judge, fresh)
	if refused == nil && unheard != nil && ctx.Err() != nil { // who hung up has kept the primary from being asked
		refused = g.statusOf(ctx, ctx.Err())
	}
	return id, refused, unheard
}

// heard is assured for who goes on waiting.
func (g *guard) heard(
	ctx context.Context, judge func() (auth.Identity, error), fresh bool,
) (id auth.Identity, refused, unheard error) {
	if id, refused = judge(); refused != nil || !g.hadUsers() {
		return id, refused, nil
	}
	both, end := context.WithTimeout(ctx, 2*g.orderPatience)
	defer end()
	half, enough := context.WithTimeout(both, g.orderPatience)
	unheard = g.barrier(half)
	enough()
	if unheard == nil {
		id, refused = judge()
		return id, refused, nil
	}
	refused, unheard = g.primarySays(both, id, fresh) // in all of the time that the barrier left
	switch {
	case errors.Is(refused, command.ErrAuthOldRevision):
		refused = errOld
	case errors.Is(refused, command.ErrAuthNotEnabled):
		refused = errDisabled
	}
	return id, g.statusOf(ctx, refused), unheard
}

// isLate reports whether a barrier failed because the region shows its history late. No patience helps then, but what
// is proposed is applied by what the primary has.
func isLate(barrier error) bool { return status.Code(barrier) == codes.FailedPrecondition }

// errNotAnswered says why the primary did not say who is root where it can be reached.
var errNotAnswered = status.Error(codes.Unavailable, "mimir: its leader does not answer that: it may be of a version "+
	"of before")

// errNotUnderstood is told where the primary refused somebody in words of a later version.
var errNotUnderstood = status.Error(codes.Unavailable, "mimir: the primary's leader says no, in words of a later "+
	"version than this node's: ask a node of that version")

// errDisabled is told where users and roles are not enabled any more, and the region does not show that yet.
var errDisabled = status.Error(codes.FailedPrecondition, "mimir: users and roles are not enabled any more, so that "+
	"nobody is root; a rule of this node (operator.allowed-cn, operator.token-file) says who is an operator")

// errOld is told where what somebody has shown is old by what the primary has, and the region shows its history late,
// or is behind: it would go on giving him the like. Clients of etcd log in again and again as long as they are told
// what etcd says.
var errOld = status.Error(codes.FailedPrecondition, "mimir: what whoever asks has shown, a password or a token, is of "+
	"before the last change of users, and this region shows its history late, or is behind, and does not show that "+
	"change yet: log in at another region, or have who is an operator by operator.allowed-cn or operator.token-file "+
	"do it")

// unlessLate is why the primary refused something, or errOld.
func unlessLate(barrier, refused error) error {
	if isLate(barrier) && errors.Is(refused, command.ErrAuthOldRevision) {
		return errOld
	}
	return refused
}
