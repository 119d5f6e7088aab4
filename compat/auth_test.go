package compat

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/replication/clock"
)

var (
	tokensFlag  = flag.String("compat-auth-token", "", "auth-token of the nodes of -mimir-endpoints; default: simple")
	halfwayFlag = flag.String("compat-halfway", "",
		"command for sh that is run half way through TestAuth, such as one that moves the primary")
)

// TestAuth sends equal random histories of users, roles and tokens, and requests of several users, to a real etcd and
// to Mimir: those with an even number with simple tokens, the others with JWTs.
func TestAuth(t *testing.T) {
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			d := newAuthDuel(t, seed)
			for i := range *stepsFlag {
				if i == *stepsFlag/2 && *halfwayFlag != "" {
					command := exec.CommandContext(t.Context(), "sh", "-c", *halfwayFlag)
					if out, err := command.CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
				}
				d.step()
			}
			d.tell()
		})
	}
}

// tell tells how often what came out.
func (d *authDuel) tell() {
	d.Logf("%d answered, %d refused; %d denied, %d with an old revision, %d with a wrong token",
		d.outcomes[""], len(d.history)-d.outcomes[""], d.outcomes["etcdserver: permission denied"],
		d.outcomes["etcdserver: revision of auth store is old"], d.outcomes["etcdserver: invalid auth token"])
}

func newAuthDuel(t *testing.T, seed uint64) *authDuel {
	setting, o := "simple", etcdapi.Options{}
	if *tokensFlag != "" {
		setting = *tokensFlag
	} else if *endpointsFlag == "" && seed%2 == 1 {
		setting = jwtSetting(t)
		spec, err := token.Parse(setting)
		if err != nil {
			t.Fatal(err)
		}
		if o.Tokens, err = token.NewJWT(spec, os.ReadFile, clock.Real, slog.Default()); err != nil {
			t.Fatal(err)
		}
	}
	return beginAuth(newDuelWith(t, seed, setting, o), setting)
}

// jwtSetting is auth-token for JWTs of a secret that both sides know.
func jwtSetting(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("a secret that both of them know, and nobody else"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "jwt,sign-method=HS256,priv-key=" + file
}

// beginAuth makes root on both sides, which give tokens as auth-token says.
func beginAuth(both *duel, setting string) *authDuel {
	d := &authDuel{duel: both, passwords: map[string]string{}, simple: setting == "simple"}
	d.forward = true // whether others are permitted depends on the shape of a tree in etcd
	for _, r := range []proto.Message{
		&pb.AuthUserAddRequest{Name: "root", Password: "p0"},
		&pb.AuthUserGrantRoleRequest{User: "root", Role: "root"},
	} {
		d.both(r)
	}
	d.passwords["root"] = "p0"
	return d
}

// authDuel is a duel about users and roles.
type authDuel struct {
	*duel
	passwords map[string]string // of users, as far as known
	logged    []*tokens         // the last ones that were given
	simple    bool              // tokens are
}

var (
	userNames = []string{"root", "ann", "bob", "eve"}
	roleNames = []string{"root", "reader", "writer", "ann"}
)

func (d *authDuel) user() string { return d.name(userNames) }
func (d *authDuel) role() string { return d.name(roleNames) }

func (d *authDuel) name(from []string) string {
	if d.oneIn(60) {
		return ""
	}
	return pick(d.generator, from...)
}

func (d *authDuel) password() string { return pick(d.generator, "p0", "p1", "p2", "") }

// mostLogged is how many tokens are in use.
const mostLogged = 12

func (d *authDuel) step() {
	d.chooseAsker()
	switch n := d.IntN(100); {
	case n < 12:
		d.login(d.user())
	case n < 18:
		d.login("root")
	case n < 40:
		d.changeUsers(d.change())
	case n < 46:
		d.both(d.question())
	case n < 48:
		d.enable()
	case n < 49 && d.oneIn(3):
		d.both(&pb.AuthDisableRequest{})
		d.asker = nil
		d.both(&pb.PutRequest{Key: d.key()})
		d.both(&pb.AuthEnableRequest{})
		for _, user := range userNames {
			d.forget(user)
		}
	default:
		d.both(d.request())
	}
}

// enable enables authentication. Where it is enabled already that is a change here, with which tokens of before end,
// and nothing in etcd: it is given a change of its own that is none.
func (d *authDuel) enable() {
	status, _ := d.etcd.do(d.Context(), &pb.AuthStatusRequest{}).response.(*pb.AuthStatusResponse)
	before := d.outcomes[""]
	if d.both(&pb.AuthEnableRequest{}); !status.GetEnabled() || d.outcomes[""] == before {
		return
	}
	same := &pb.AuthUserChangePasswordRequest{Name: "root", Password: d.passwords["root"]}
	if got := d.etcd.do(d.asker.at(d.etcd, d.Context()), same); got.response == nil {
		d.fatalf("%T: %s", same, got.text)
	}
	d.logged = nil
}

// chooseAsker takes the newest token of root for half of the requests: else little would be changed.
func (d *authDuel) chooseAsker() {
	d.asker = nil
	switch n := d.IntN(100); {
	case n < 8:
	case n < 11:
		d.asker = &tokens{"nonsense", "abcdefghijklmnop.1", "abcdefghijklmnop.1"}
	case n < 60:
		for _, one := range d.logged {
			if one.user == "root" {
				d.asker = one
			}
		}
	case n < 80 && len(d.logged) > 0:
		d.asker = pick(d.generator, d.logged...)
	default:
		if d.login(d.user()); d.given != nil {
			d.asker = d.given
		}
	}
}

// login logs in, mostly with the right password.
func (d *authDuel) login(user string) {
	r := &pb.AuthenticateRequest{Name: user, Password: d.passwords[user]}
	if d.oneIn(8) {
		r.Password = d.password()
	}
	d.both(r)
	if given := d.given; given != nil {
		given.user = user
		d.logged = append(d.logged, given)
		d.logged = d.logged[max(0, len(d.logged)-mostLogged):]
	}
}

// changeUsers sends a change, and remembers passwords.
func (d *authDuel) changeUsers(r proto.Message) {
	before := d.outcomes[""]
	d.both(proto.Clone(r))
	if d.outcomes[""] == before {
		return
	}
	switch r := r.(type) {
	case *pb.AuthUserAddRequest:
		d.passwords[r.Name] = r.Password
	case *pb.AuthUserChangePasswordRequest:
		d.passwords[r.Name] = r.Password
		d.forget(r.Name)
	case *pb.AuthUserDeleteRequest:
		d.forget(r.Name)
	}
}

// forget forgets most of the tokens of a user, which are none any more, and all if they are JWTs: those end only here.
func (d *authDuel) forget(user string) {
	d.logged = slices.DeleteFunc(d.logged, func(t *tokens) bool {
		return t.user == user && (!d.simple || !d.oneIn(4))
	})
}

func (d *authDuel) change() proto.Message {
	switch n := d.IntN(20); {
	case n < 4:
		r := &pb.AuthUserAddRequest{Name: d.user(), Password: d.password()}
		if d.oneIn(8) {
			r.Options = &authpb.UserAddOptions{NoPassword: d.oneIn(2)}
		}
		return r
	case n < 5 && d.oneIn(3):
		return &pb.AuthUserDeleteRequest{Name: d.user()}
	case n < 6:
		return &pb.AuthUserChangePasswordRequest{Name: d.user(), Password: d.password()}
	case n < 10:
		return &pb.AuthUserGrantRoleRequest{User: d.user(), Role: d.role()}
	case n < 12:
		return &pb.AuthUserRevokeRoleRequest{Name: d.user(), Role: d.role()}
	case n < 14:
		return &pb.AuthRoleAddRequest{Name: d.role()}
	case n < 15 && d.oneIn(2):
		return &pb.AuthRoleDeleteRequest{Role: d.role()}
	case n < 18:
		return &pb.AuthRoleGrantPermissionRequest{Name: d.role(), Perm: d.permission()}
	}
	r := &pb.AuthRoleRevokePermissionRequest{Role: d.role()}
	r.Key, r.RangeEnd = d.span()
	return r
}

func (d *authDuel) permission() *authpb.Permission {
	if d.oneIn(30) {
		return nil
	}
	p := &authpb.Permission{PermType: authpb.Permission_Type(d.IntN(3))}
	p.Key, p.RangeEnd = d.span()
	return p
}

func (d *authDuel) question() proto.Message {
	switch d.IntN(5) {
	case 0:
		return &pb.AuthUserGetRequest{Name: d.user()}
	case 1:
		return &pb.AuthRoleGetRequest{Role: d.role()}
	case 2:
		return &pb.AuthUserListRequest{}
	case 3:
		return &pb.AuthRoleListRequest{}
	}
	return &pb.AuthStatusRequest{}
}

// doesSomething reports whether a transaction compares, reads or changes anything: of who does nothing Mimir wants to
// know.
func doesSomething(r *pb.TxnRequest) bool {
	return len(r.Compare) > 0 || slices.ContainsFunc(slices.Concat(r.Success, r.Failure), func(op *pb.RequestOp) bool {
		inner := op.GetRequestTxn()
		return inner == nil || doesSomething(inner)
	})
}

// request is one that is no business of users and roles, of every kind that asks for a right.
func (d *authDuel) request() proto.Message {
	switch n := d.IntN(46); {
	case n < 8:
		return d.put()
	case n < 16:
		return d.rangeRequest()
	case n < 18:
		return stream{d.streamRequest()}
	case n < 22:
		return d.deleteRange()
	case n < 28:
		if r := d.txn(1); doesSomething(r) {
			return r
		}
		return d.put()
	case n < 29:
		return d.compaction()
	case n < 32:
		return d.grant()
	case n < 33:
		return &pb.LeaseRevokeRequest{ID: d.leaseID()}
	case n < 35:
		return &pb.LeaseTimeToLiveRequest{ID: d.leaseID(), Keys: d.oneIn(2)}
	case n < 36:
		return &pb.LeaseLeasesRequest{}
	case n < 37:
		return &pb.LeaseKeepAliveRequest{ID: d.leaseID()}
	case n < 38:
		return &pb.AlarmRequest{}
	case n < 39:
		return d.hash()
	case n < 45:
		return d.maintenance()
	}
	r := d.watch()
	r.StartRevision, r.WatchId = 0, 0
	return watchOnce{r}
}

// maintenance is a request about nodes, and not about what they hold, that does nothing.
func (d *authDuel) maintenance() proto.Message {
	switch d.IntN(6) {
	case 0:
		return &pb.StatusRequest{}
	case 1:
		return &pb.MemberListRequest{Linearizable: d.oneIn(2)}
	case 2:
		return &pb.SnapshotRequest{}
	case 3:
		return &pb.DefragmentRequest{}
	case 4:
		if *endpointsFlag == "" && len(d.mimir) == 1 { // a node that is no leader says that
			return &pb.MoveLeaderRequest{TargetID: 99}
		}
	}
	return &pb.DowngradeRequest{}
}
