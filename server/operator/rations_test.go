package operator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// siteOf is that of the n-th address.
func siteOf(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
}

// However long and from wherever it is called, no more is let in than the disk of the log can take; and who calls
// little, or is on the machine, is let in beside those who call all the time.
func TestWhoCallsMuchTakesNothingFromOthers(t *testing.T) {
	const hours, looks = 2, 12
	for name, sites := range map[string]int{"one": 1, "a few": 20, "more than are told apart": 3 * mostSites} {
		var r rations
		began, in, little, inside := time.Now(), 0, 0, 0
		for turn := range hours * 360 {
			now := began.Add(time.Duration(turn) * 10 * time.Second)
			for n := range min(sites, 30) {
				if r.take(siteOf((turn*30+n)%sites), now) {
					in++
				}
			}
			if turn%60 != 59 {
				continue
			}
			if r.take(siteOf(1<<20), now) {
				little++
			}
			if r.take(netip.Prefix{}, now) {
				inside++
			}
		}
		if most := 2*mostOfPot + 2*potEach*hours*3600; float64(in) > most {
			t.Errorf("%s: %d are let in, want %v at most", name, in, most)
		}
		if inside != looks {
			t.Errorf("%s: of %d who are on the machine %d are let in", name, looks, inside)
		}
		if sites < mostSites && little != looks {
			t.Errorf("%s: of %d who call little %d are let in", name, looks, little)
		}
		if len(r.sites) > mostSites {
			t.Errorf("%s: %d sites are known", name, len(r.sites))
		}
	}
}

// What has passed is forgotten: a site has its few calls again, and makes room for another.
func TestRationsGrowAgain(t *testing.T) {
	var r rations
	now := time.Now()
	for n := range mostSites {
		r.take(siteOf(n), now)
	}
	if r.of(siteOf(mostSites), now) != nil {
		t.Error("there is room for one more")
	}
	now = now.Add(time.Duration(1/fewEach+1) * time.Second)
	if r.of(siteOf(mostSites), now) == nil || len(r.sites) != 1 {
		t.Errorf("%d sites are known", len(r.sites))
	}
	for range 2 * fewCalls {
		r.take(siteOf(1), now)
	}
	if r.of(siteOf(1), now).has(fewCalls, fewEach, now) {
		t.Error("many are few")
	}
	if now = now.Add(time.Hour); !r.of(siteOf(1), now).has(fewCalls, fewEach, now) {
		t.Error("one is many, after an hour")
	}
}

// Where each call is to be written and everybody is an operator, a stranger does not fill the disk of the log: what is
// let in is written, begun and ended, and of what is not no more than of refusals. What an operator does beside him, on
// the node's machine or from another address, is let in and written.
func TestStrangersDoNotFillWhatIsRequired(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a, err := OpenAudit(AuditOptions{Required: true, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		g, ran := NewGate(a), map[string]int{}
		call := func(remote, method string, request any) error {
			ctx := grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{Addr: address(remote)})
			_, err := g.Unary(ctx, request, &grpc.UnaryServerInfo{FullMethod: method},
				func(context.Context, any) (any, error) { ran[method]++; return nil, nil })
			return err
		}
		const looks = 4
		long := &pb.AuthUserAddRequest{Name: strings.Repeat("\x01", 1<<10)}
		refused, left := 0, 0
		for turn := range looks * 60 {
			for n := range 15 {
				err := call(fmt.Sprintf("10.0.0.%d:1", 1+n%2), auth+"UserAdd", long)
				if err != nil && status.Code(err) != codes.ResourceExhausted {
					t.Fatal(err)
				}
				if err != nil {
					refused++
				}
			}
			if turn%60 == 0 {
				for _, remote := range []string{"127.0.0.1:1", "@", "[2001:db8::1]:1"} {
					if err := call(remote, maintenance+"MoveLeader", &pb.MoveLeaderRequest{}); err != nil {
						t.Fatalf("%s in turn %d: %v", remote, turn, err)
					}
				}
			}
			time.Sleep(10 * time.Second)
		}
		virtual.Wait()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		told := map[string]int{}
		for _, l := range linesIn(t, log.String()) {
			told[l.Op+" "+l.Outcome]++
			left += l.More
		}
		for method, n := range ran {
			if told[method+" "+begun] != n || told[method+" "+done] != n {
				t.Errorf("%s ran %d times: %v", method, n, told)
			}
		}
		if ran[maintenance+"MoveLeader"] != 3*looks {
			t.Errorf("%v ran", ran)
		}
		if n := told[auth+"UserAdd refused"] + left; n != refused || left == 0 {
			t.Errorf("%d of %d refusals are told or counted", n, refused)
		}
		if most := 3 << 19; log.Len() > most {
			t.Errorf("%d bytes are written, want %d at most", log.Len(), most)
		}
	})
}

// What is told of the arguments of somebody who has shown no right is bounded, however many there are, and in what a
// log writes of them.
func TestArgumentsOfStrangersAreBounded(t *testing.T) {
	var args []argument
	for range 13 {
		args = append(args, argument{"x", short(strings.Repeat("\x01", 4<<10))})
	}
	var log bytes.Buffer
	a, err := OpenAudit(AuditOptions{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for proven, most := range map[bool]int{false: mostUnprovenBytes + 500, true: 14 * (mostArgumentBytes + 50)} {
		log.Reset()
		e := &entry{op: "x", args: args, caller: &Caller{}, outcome: done, proven: proven}
		if err := a.tell(e); err != nil {
			t.Fatal(err)
		}
		if log.Len() > most || log.Len() < mostUnprovenBytes {
			t.Errorf("proven %t: %d bytes: %s", proven, log.Len(), log.String())
		}
	}
	if args[12].value != short(strings.Repeat("\x01", 4<<10)) {
		t.Error("the arguments themselves are cut")
	}
}

// Who is on this machine, and who is one of a site.
func TestWhereACallerIs(t *testing.T) {
	for remote, want := range map[string]string{
		"": "", "@": "", "/run/mimir.sock": "", "127.0.0.1:5": "", "[::1]:5": "", "[::ffff:127.0.0.1]:5": "",
		"10.1.2.3:5": "10.1.2.3/32", "[::ffff:10.1.2.3]:5": "10.1.2.3/32",
		"[2001:db8:1:2::3]:5": "2001:db8:1::/48", "[fd00:0:0:2::3]:5": "fd00:0:0:2::/64",
	} {
		site, text := (&Caller{Remote: remote}).site(), ""
		if site.IsValid() {
			text = site.String()
		}
		if text != want {
			t.Errorf("%s: %s, want %s", remote, text, want)
		}
	}
}
