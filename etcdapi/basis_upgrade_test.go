package etcdapi_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// While a node of the fleet does not know what stands beside a command, root is root by what the primary has, before
// anything is written that only root may; where that cannot be asked, nothing is. Then a change of users is the first
// command that says it.
func TestRootInAFleetWithOldNodes(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	g.lease(t)
	g.Replicator.Outdate(command.NeedsBasis)
	for name, one := range orders() {
		if strings.Contains(name, "member") || name == "snapshot" || name == "move the leader" {
			continue // which write nothing
		}
		root := g.as(t, "root", "r00t")
		g.Replicator.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
		if err := one.call(root, g.connection); status.Code(err) != codes.Unavailable {
			t.Errorf("%s, where nobody can be asked: %v", name, err)
		}
		if _, err := g.kv.Put(root, &pb.PutRequest{Key: z}); err != nil {
			t.Errorf("a put: %v", err)
		}
		g.Replicator.FailBarriers(nil)
		g.Replicator.AtBarriers(sync.OnceFunc(func() { g.own(t, samePassword(t, "root", "r00t")) }))
		if err := one.call(root, g.connection); told(err) != badToken {
			t.Errorf("%s, where another password is heard of: %v", name, err)
		}
		g.Replicator.AtBarriers(nil)
	}
}

// A region that shows its history late does for root what he orders also before any command said on what somebody
// stands, as soon as every node would understand it, and not for who knows his former password; else it says what to
// do.
func TestRootInALateRegionAfterAnUpgrade(t *testing.T) {
	for _, changed := range []bool{true, false} {
		t.Run(fmt.Sprintf("changed %t", changed), func(t *testing.T) {
			for name, one := range orders() {
				g := guard(t, etcdapi.Options{})
				g.lease(t)
				g.Replicator.Outdate(command.NeedsBasis)
				root := g.as(t, "root", "r00t")
				g.Replicator.Late(t)
				if changed {
					g.own(t, anotherPassword("root"))
				}
				asks := strings.Contains(name, "member") || name == "snapshot" || name == "move the leader"
				done := func(err error) bool { return changed && isOld(err) || !changed && told(err) == one.done }
				err := one.call(root, g.connection)
				if asks && !done(err) || !asks && !strings.Contains(told(err), "another region") {
					t.Errorf("%s, with an old node: %v", name, err)
				}
				g.Replicator.Outdate(nil)
				if err := one.call(root, g.connection); !done(err) {
					t.Errorf("%s: %v, and root is told %q", name, err, one.done)
				}
				if asks && g.Replicator.Decided(command.EncodeAuthEnable(command.AuthEnable{Renews: true})) {
					t.Errorf("%s: a question is of a version that no node before understands", name)
				}
			}
		})
	}
}

// The first change of users that every node understands says on what stands who asks, and so do all commands from then
// on.
func TestAChangeOfUsersSaysWhatItStandsOn(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	var mu sync.Mutex
	based := 0
	g.Replicator.LoseAnswersOf(func(c []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if command.NeedsBasis(c) {
			based++
		}
		return false
	})
	root, ann := g.as(t, "root", "r00t"), g.as(t, "ann", "pa55")
	count := func(role string) int {
		t.Helper()
		if _, err := g.kv.Put(ann, &pb.PutRequest{Key: a}); err != nil {
			t.Error(err)
		}
		if _, err := g.kv.Compact(root, &pb.CompactionRequest{Revision: g.Store.Revision()}); err != nil {
			t.Error(err)
		}
		if _, err := g.auth.RoleAdd(root, &pb.AuthRoleAddRequest{Name: role}); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return based
	}
	g.Replicator.Outdate(command.NeedsBasis)
	if n := count("one"); n != 0 {
		t.Errorf("%d commands that a node does not understand", n)
	}
	g.Replicator.Outdate(nil)
	if n := count("two"); n != 1 {
		t.Errorf("%d commands, not the change of users, say on what somebody stands", n)
	}
	if n := count("three"); n != 4 {
		t.Errorf("%d commands say on what somebody stands, of 4", n)
	}
}

// So it is where users are changed by who says nothing of the kind: an operator by a rule, or root with a JWT that was
// made elsewhere.
func TestAFirstChangeByWhoStandsOnNothing(t *testing.T) {
	ruled := func(ctx context.Context) bool { return len(metadata.ValueFromIncomingContext(ctx, "ruled")) > 0 }
	for _, who := range []string{"an operator", "a JWT"} {
		t.Run(who, func(t *testing.T) {
			g := guard(t, etcdapi.Options{Operator: ruled, Tokens: jwts(t)})
			ctx := made(t, "root", g.Store)
			if who == "an operator" {
				ctx = metadata.AppendToOutgoingContext(bounded(t), "ruled", "yes")
			}
			g.Replicator.Outdate(command.NeedsBasis)
			for _, knows := range []bool{false, true} {
				if knows {
					g.Replicator.Outdate(nil)
				}
				if _, err := g.auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: fmt.Sprint(knows)}); err != nil {
					t.Error(err)
				}
				if g.Replicator.Decided(command.EncodeAuthEnable(command.AuthEnable{Renews: true})) != knows {
					t.Errorf("where all nodes know of it, %t, a command says on what somebody stands", knows)
				}
			}
		})
	}
}

// To enable authentication again ends what was given to who logged in before, at once and everywhere: whoever knew what
// it was signed with knows it no more. As in etcd it says nothing of it.
func TestToEnableAgainEndsTokens(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	old, revision := g.Store.Auth().TokenKey(), g.Store.Auth().Revision()
	enable := func() {
		t.Helper()
		if _, err := g.auth.AuthEnable(g.as(t, "root", "r00t"), &pb.AuthEnableRequest{}); err != nil {
			t.Error(err)
		}
	}
	ann := g.as(t, "ann", "pa55")
	refused := func(what string, want codes.Code) {
		t.Helper()
		_, err := g.auth.AuthEnable(g.as(t, "root", "r00t"), &pb.AuthEnableRequest{})
		if status.Code(err) != want || !strings.Contains(told(err), "stays what it is") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := g.auth.AuthEnable(ann, &pb.AuthEnableRequest{}); told(err) != denied {
			t.Errorf("%s, by somebody: %v", what, err)
		}
		if _, err := g.kv.Put(ann, &pb.PutRequest{Key: a}); err != nil || !bytes.Equal(old, g.Store.Auth().TokenKey()) {
			t.Errorf("%s, and it was done: %v", what, err)
		}
	}
	g.Replicator.Outdate(command.NeedsBasis)
	refused("where a node would not do it", codes.FailedPrecondition)
	g.Replicator.Outdate(nil)
	g.Replicator.Misunderstand(replication.ErrNotReady)
	refused("where a node does not answer", codes.Unavailable)
	g.Replicator.Misunderstand(nil)
	enable()
	if now := g.Store.Auth(); bytes.Equal(old, now.TokenKey()) || now.Revision() != revision+1 || !now.Enabled() {
		t.Errorf("the key is the same, or the revision %d, not %d", now.Revision(), revision+1)
	}
	if _, err := g.kv.Put(ann, &pb.PutRequest{Key: a}); told(err) != badToken {
		t.Errorf("a token of before: %v", err)
	}
	if _, err := g.kv.Put(g.as(t, "ann", "pa55"), &pb.PutRequest{Key: a}); err != nil {
		t.Errorf("a token of now: %v", err)
	}
}

// Nobody is told that authentication was enabled where it was before, and this node did not show that: what tokens are
// signed with is what it was.
func TestToEnableWhereThatIsNotShownYet(t *testing.T) {
	ruled := func(ctx context.Context) bool { return len(metadata.ValueFromIncomingContext(ctx, "ruled")) > 0 }
	for _, late := range []bool{false, true} {
		g := guard(t, etcdapi.Options{Operator: ruled})
		operator := metadata.AppendToOutgoingContext(bounded(t), "ruled", "yes")
		g.own(t, &pb.AuthDisableRequest{})
		enabled := command.EncodeAuthEnable(command.AuthEnable{TokenKey: make([]byte, command.TokenKeyBytes)})
		enable := func(what, says string) {
			t.Helper()
			_, err := g.auth.AuthEnable(operator, &pb.AuthEnableRequest{})
			if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(told(err), says)) {
				t.Errorf("%s, late %t: %v", what, late, err)
			}
		}
		g.Replicator.Outdate(command.NeedsBasis)
		g.Replicator.AtBarriers(sync.OnceFunc(func() { g.ordered(t, enabled) }))
		enable("it comes meanwhile", "stays what it is")
		g.Replicator.AtBarriers(nil)
		g.own(t, &pb.AuthDisableRequest{})
		enable("it is not", "")
		g.own(t, &pb.AuthDisableRequest{})
		primary := (*kv.Store)(nil)
		if late {
			primary = g.Replicator.Late(t)
		} else {
			primary = etcdapitest.Lag(t, g.Replicator)
		}
		g.ordered(t, enabled)
		enable("it is not known", "may be enabled already")
		if !primary.Auth().Enabled() || g.Store.Auth().Enabled() {
			t.Error("it is not so at all")
		}
	}
}
