package sim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Users, and the roles that they may have: each permits what is done in one part of the keys, its room.
var (
	userNames = []string{"ann", "bob", "cid"}
	roleNames = []string{"kitchen", "cellar", "attic"}
)

// userKeys is before every key that users are about.
const userKeys = "users/"

// rangeOf returns the keys of a room.
func rangeOf(room string) (key, end []byte) {
	return []byte(userKeys + room + "/"), []byte(userKeys + room + "0")
}

// visit is what a guest did in a room, and what he was told.
type visit struct {
	node     string
	user     string
	revision uint64 // of users and roles, by which it was judged who asks
	room     string
	password string // the hash of what he has shown, as commands have it; empty: none
	data     string // of a write: the command; empty: a read
	err      error  // nil: it was done
	from, to *place // of a read: where the node was before, and after
}

func (v visit) String() string {
	what := "read"
	if v.data != "" {
		what = "wrote"
	}
	return fmt.Sprintf("%q %s in %s at %s, by revision %d of users", v.user, what, v.room, v.node, v.revision)
}

// guest says who he is, as one user or the other, or as nobody, and writes and reads.
type guest struct {
	*client
	visits []visit
}

const guestCount = 2

// guests are those of a run, and the keeper, who changes users and roles.
type guests struct {
	list   []*guest
	keeper *client
}

func newGuests(f *fleet, d *operations) *guests {
	g := &guests{}
	if !f.hasUsers() {
		return g
	}
	called := func(name string, number int) *client {
		c := newClient(f, d, number)
		c.name, c.random = name, stream(f.plan.seed, name)
		return c
	}
	g.keeper = called("keeper", 0)
	for i := range guestCount {
		g.list = append(g.list, &guest{client: called(fmt.Sprintf("guest%d", i), i)})
	}
	return g
}

// hasUsers reports whether clients have to say who they are.
func (f *fleet) hasUsers() bool { return f.plan.inject[injectUsers] && f.plan.storage == storageKV }

// start has all of them do what they do until the time is over.
func (g *guests) start(ctx context.Context, until time.Time, going *sync.WaitGroup) {
	if g.keeper == nil {
		return
	}
	going.Go(func() { g.keeper.each(ctx, until, 400*time.Millisecond, g.keeper.changeUsers) })
	for _, o := range g.list {
		going.Go(func() { o.each(ctx, until, o.fleet.plan.think, o.visit) })
	}
}

// each does something at one node after the other.
func (c *client) each(
	ctx context.Context, until time.Time, pause time.Duration, do func(ctx context.Context, p *process),
) {
	for time.Now().Before(until) && ctx.Err() == nil {
		time.Sleep(time.Duration(c.random.Int64N(int64(pause))))
		if list := c.fleet.running(); len(list) > 0 {
			ctx, cancel := c.call(ctx)
			do(ctx, list[c.random.IntN(len(list))])
			cancel()
		}
	}
}

// visit writes or reads in a room.
func (g *guest) visit(ctx context.Context, p *process) {
	users := p.storage.(*kv.Store).Auth()
	v := visit{node: p.NodeID(), room: pick(g.random, roleNames...), user: pick(g.random, userNames...)}
	if g.random.IntN(8) == 0 {
		v.user = ""
	}
	if v.revision = users.Revision(); v.user == "" {
		v.revision = 0
	}
	if g.random.IntN(3) == 0 {
		g.look(ctx, p, v)
		return
	}
	g.writes++
	key, _ := rangeOf(v.room)
	put := command.EncodePut(&pb.PutRequest{Key: key, Value: fmt.Appendf(nil, "%s/%d", g.name, g.writes)})
	id := g.shows(&v, users)
	if v.data = string(command.EncodeAs(id, put)); id.Based() && p.Understood(ctx, []byte(v.data)) != nil {
		v.password, v.data = "", string(command.EncodeAs(id.Plain(), put))
	}
	if p.Understood(ctx, []byte(v.data)) != nil {
		return
	}
	o := g.order(ctx, p, nil, []byte(v.data))
	if o.outcome != acknowledged || len(o.results) != 1 {
		return
	}
	_, v.err = command.DecodePutResult(o.results[0])
	g.visited(v)
}

// shows returns who writes, as a server says it of who has shown a token that tells its revision, a certificate, or a
// token that was given for a password.
func (g *guest) shows(v *visit, users *auth.State) command.Identity {
	id := command.Identity{User: v.user, Revision: v.revision}
	if id.User == "" {
		return id
	}
	shown := g.writes % 3
	id.Present = shown > 0
	basis, ok := users.Basis(id.User)
	if shown < 2 || !ok {
		return id
	}
	id.Basis = basis
	for _, u := range users.AllUsers() {
		if string(u.Name) == id.User {
			v.password = base64.StdEncoding.EncodeToString(u.Password)
		}
	}
	return id
}

// look reads what is in a room, as a server does for somebody who asks: he is judged before, and nothing is told if
// that was by what is not true any more.
func (g *guest) look(ctx context.Context, p *process, v visit) {
	if p.ReadBarrier(ctx, replication.Linearizable) != nil {
		return
	}
	store := p.storage.(*kv.Store)
	v.from = p.auditor.at.Load()
	users := store.Auth()
	if v.user != "" {
		v.revision = users.Revision()
	}
	key, end := rangeOf(v.room)
	ask := &pb.RangeRequest{Key: key, RangeEnd: end}
	if v.err = users.Check(auth.Identity{User: v.user, Revision: v.revision}, ask, nil); v.err == nil {
		_, v.err = store.Range(ctx, ask)
	}
	if now := store.Auth(); v.err == nil && v.user != "" && now.Enabled() && now.Revision() != v.revision {
		return
	}
	time.Sleep(time.Millisecond) // what is applied is noted
	if v.to = p.auditor.at.Load(); !p.silent() && v.from != nil && v.to != nil {
		g.visited(v)
	}
}

func (g *guest) visited(v visit) {
	if errors.Is(v.err, command.ErrPermissionDenied) {
		g.fleet.happened.note(injectUsers)
	}
	g.visits = append(g.visits, v)
}

// asRoot returns a command that root asks for, if one has to say who asks.
func (p *process) asRoot(data []byte) []byte {
	users := p.storage.(*kv.Store).Auth()
	if !users.Enabled() {
		return data
	}
	return command.EncodeAs(command.Identity{User: auth.Root, Revision: users.Revision()}, data)
}

// changeUsers makes what is missing until users have to say who they are, and changes something from then on.
func (c *client) changeUsers(ctx context.Context, p *process) {
	data := c.missing(p.storage.(*kv.Store).Auth())
	if data == nil {
		data = c.change()
	}
	data = c.unique(data)
	if p.Understood(ctx, data) == nil {
		c.propose(ctx, p, data)
	}
}

// nameField is of no request: it holds what tells commands apart that do the same.
const nameField = 2001

// unique returns a command that does what data does, and that nobody else proposes.
func (c *client) unique(data []byte) []byte {
	c.writes++
	data = protowire.AppendTag(data, nameField, protowire.BytesType)
	return protowire.AppendString(data, fmt.Sprintf("%s/%d", c.name, c.writes))
}

// missing returns what has to be done next before users have to say who they are, nil if they have to.
func (c *client) missing(users *auth.State) []byte {
	switch {
	case users.Enabled():
		return nil
	case !hasUser(users, auth.Root):
		return addUser(auth.Root)
	case !users.HasRole(auth.Root, auth.Root):
		return mustEncode(&pb.AuthUserGrantRoleRequest{User: auth.Root, Role: auth.Root})
	}
	for _, name := range userNames {
		if !hasUser(users, name) {
			return addUser(name)
		}
	}
	for _, role := range roleNames {
		if _, err := users.RoleGet(auth.Identity{}, &pb.AuthRoleGetRequest{Role: role}); err != nil {
			return mustEncode(&pb.AuthRoleAddRequest{Name: role})
		}
	}
	if c.random.IntN(3) > 0 {
		return c.change()
	}
	return command.EncodeAuthEnable(command.AuthEnable{TokenKey: make([]byte, command.TokenKeyBytes)})
}

// change is something that may change who may do what.
func (c *client) change() []byte {
	user, role := pick(c.random, userNames...), pick(c.random, roleNames...)
	key, end := rangeOf(role)
	switch c.random.IntN(16) {
	case 0:
		return mustEncode(&pb.AuthUserDeleteRequest{Name: user})
	case 1:
		return addUser(user)
	case 2:
		hash := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "hash %d", c.writes))
		return mustEncode(&pb.AuthUserChangePasswordRequest{Name: user, HashedPassword: hash})
	case 3:
		return mustEncode(&pb.AuthRoleDeleteRequest{Role: role})
	case 4, 5:
		return mustEncode(&pb.AuthRoleAddRequest{Name: role})
	case 6:
		return mustEncode(&pb.AuthRoleRevokePermissionRequest{Role: role, Key: key, RangeEnd: end})
	case 7, 8, 9:
		kind := pick(c.random, authpb.Permission_READ, authpb.Permission_WRITE, authpb.Permission_READWRITE)
		return mustEncode(&pb.AuthRoleGrantPermissionRequest{
			Name: role, Perm: &authpb.Permission{PermType: kind, Key: key, RangeEnd: end},
		})
	case 10, 11, 12:
		return mustEncode(&pb.AuthUserRevokeRoleRequest{Name: user, Role: role})
	default:
		return mustEncode(&pb.AuthUserGrantRoleRequest{User: user, Role: role})
	}
}

// hasUser reports whether there is a user, while nobody has to say who asks.
func hasUser(users *auth.State, name string) bool {
	_, err := users.UserGet(auth.Identity{}, &pb.AuthUserGetRequest{Name: name})
	return err == nil
}

func addUser(name string) []byte {
	hash := base64.StdEncoding.EncodeToString([]byte("a hash"))
	return mustEncode(&pb.AuthUserAddRequest{Name: name, HashedPassword: hash})
}

func mustEncode(r proto.Message) []byte {
	data, err := command.EncodeAuth(r)
	if err != nil {
		panic(err)
	}
	return data
}

// commandLevel says which nodes understand a command of the store, as a server does.
func commandLevel(p []byte) timeline.Level {
	switch {
	case command.NeedsBasis(p):
		return timeline.LevelBasis
	case command.NeedsEnds(p):
		return timeline.LevelEnds
	case command.NeedsUsers(p):
		return timeline.LevelUsers
	}
	return timeline.LevelFirst
}
