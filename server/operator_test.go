package server

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/replays"
)

// Every gRPC method and every route of HTTP that a node serves is in the table of rights, and nothing else is.
func TestEveryCallIsInTheTableOfRights(t *testing.T) {
	served := map[string]bool{}
	rpc := grpc.NewServer()
	etcdapi.New(etcdapi.Options{}).Register(rpc)
	partial.NewSource(partial.SourceConfig{}).Register(rpc)
	for service, info := range rpc.GetServiceInfo() {
		for _, m := range info.Methods {
			served["/"+service+"/"+m.Name] = true
		}
	}
	note := func(pattern string, h http.Handler) http.Handler {
		served[pattern] = true
		return h
	}
	r := &routes{api: http.NotFoundHandler(), guard: note, console: console.New(console.Options{})}
	r.admin, r.replays = admin.NewHandler(admin.HandlerOptions{Guard: note}), replays.New(replays.Options{})
	r.client(true)
	r.private(true, true)
	for name := range served {
		if _, known := operator.Of(name); !known {
			t.Errorf("%s is served, and the table does not say what it needs", name)
		}
	}
	known := maps.Collect(operator.All())
	for name := range known {
		if !served[name] {
			t.Errorf("%s is in the table, and nobody serves it", name)
		}
	}
	if len(served) < 60 {
		t.Errorf("only %d calls are served", len(served))
	}
}

// Every field of an order over HTTP is told to the audit log: none of them is a value or a secret.
func TestEveryFieldOfAnOrderIsTold(t *testing.T) {
	for pattern, body := range map[string]any{
		"POST /mimir/v1/failover":       admin.Move{},
		"POST /mimir/v1/log":            admin.Log{},
		"POST /mimir/v1/fleet/init":     admin.Founding{},
		"POST /mimir/v1/votes/enable":   replication.VoteSettings{},
		"POST /mimir/v1/votes/pause":    admin.Pause{},
		"POST /mimir/v1/votes/change":   replication.VoteChange{},
		"POST /mimir/v1/votes/recover":  admin.Recovery{},
		"POST /mimir/v1/regions/add":    replication.RegionAddition{},
		"POST /mimir/v1/regions/remove": replication.RegionRemoval{},
		"POST /mimir/v1/regions/move":   replication.RegionSourcing{},
		"POST /mimir/v1/replay":         replays.Order{},
	} {
		call, _ := operator.Of(pattern)
		of := reflect.TypeOf(body)
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if !slices.Contains(call.Args, cmp.Or(name, of.Field(i).Name)) {
				t.Errorf("%s: %s is not told", pattern, of.Field(i).Name)
			}
		}
	}
}

const testToken = "0123456789abcdef0123456789abcdef"

// guarded is a fleet of two regions where a certificate and a token make an operator.
type guarded struct {
	nodes         map[string]*Config
	app, operator TLS
	audit         map[string]string // files, by region
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	clients, peers := newAuthority(t, "clients"), newAuthority(t, "peers")
	g := &guarded{
		nodes: map[string]*Config{"us": testConfig(t, "us-1"), "eu": testConfig(t, "eu-1")},
		app:   clients.issue(t, "app"), operator: clients.issue(t, "op"), audit: map[string]string{},
	}
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte("robot "+testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range g.nodes {
		g.audit[name] = filepath.Join(dir, name+".audit")
		c.Replication.RegionID, c.Replication.InitialPrimary, c.Pprof = name, "us", true
		c.ClientTLS, c.PeerTLS = clients.issue(t, name), peers.issue(t, name)
		c.ClientTLS.RequireClientCert, c.PeerTLS.RequireClientCert = true, true
		c.Operator.AllowedCN = []string{"op"}
		c.Operator.TokenFile, c.Operator.AuditLog = tokens, g.audit[name]
	}
	g.nodes["us"].Replication.Regions = map[string][]string{"eu": {g.nodes["eu"].ListenPeer}}
	g.nodes["eu"].Replication.Regions = map[string][]string{"us": {g.nodes["us"].ListenPeer}}
	g.nodes["us"].ListenHTTP = freeAddr(t)
	runNodeWith(t, g.nodes["us"], Options{Look: askEverybody, Replays: puts{}})
	runNodeWith(t, g.nodes["eu"], Options{Look: askEverybody, Replays: puts{}})
	client := etcdClient(t, g.nodes["eu"], g.app)
	eventually(t, "a client that is no operator writes and reads at the secondary", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if _, err := client.Put(ctx, "k", "v"); err != nil {
			return false
		}
		answer, err := client.Get(ctx, "k")
		return err == nil && len(answer.Kvs) == 1
	})
	return g
}

// dialed returns a configuration of TLS as somebody, for HTTP/1.1.
func dialed(t *testing.T, as TLS) *tls.Config {
	t.Helper()
	secure, err := ClientTLSConfig(as, false)
	if err != nil {
		t.Fatal(err)
	}
	secure.NextProtos = []string{"http/1.1"}
	return secure
}

// over calls a node over HTTP, and returns the status and what was answered.
func (g *guarded) over(t *testing.T, at string, as TLS, token, method, path, body string) (int, string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: dialed(t, as)}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, g.nodes[at].ClientURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer.StatusCode, string(text)
}

// told returns the lines of the audit log of a node, as "operation outcome [who] arguments".
func (g *guarded) told(t *testing.T, at string) (lines []string) {
	t.Helper()
	f, err := os.Open(g.audit[at])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		l := struct {
			Op, Outcome, Who, Remote, Certificate string
			Args                                  map[string]string
		}{}
		if err := json.Unmarshal(s.Bytes(), &l); err != nil || l.Remote == "" || l.Certificate == "" {
			t.Errorf("%s: %v", s.Bytes(), err)
		}
		lines = append(lines, fmt.Sprintf("%s %s [%s] %v", l.Op, l.Outcome, l.Who, l.Args))
	}
	return lines
}

// A client's certificate does nothing that an operator does, over gRPC, the JSON gateway and HTTP, at the primary and
// at the secondary; an operator's does, and a token does.
func TestWhoMayDoWhatAnOperatorDoes(t *testing.T) {
	g := newGuarded(t)
	t.Run("a client", func(t *testing.T) { g.clientIsRefused(t) })
	t.Run("a client over JSON", func(t *testing.T) { g.clientIsRefusedOverJSON(t) })
	t.Run("an operator", func(t *testing.T) { g.operatorIsLetIn(t) })
}

func (g *guarded) clientIsRefused(t *testing.T) {
	client := etcdClient(t, g.nodes["eu"], g.app)
	refused := 0
	for name, call := range operator.All() {
		method, path, web := strings.Cut(name, " ")
		if strings.HasPrefix(name, "/debug/") { // by any method
			method, path, web = http.MethodGet, name, true
		}
		switch {
		case call.Right != operator.Operator || strings.HasSuffix(name, "/Alarm"):
			continue
		case web:
			code, text := g.over(t, "eu", g.app, "", method, strings.ReplaceAll(path, "{name}", "x"), `{"to":"eu"}`)
			if code != http.StatusForbidden || !strings.Contains(text, "needs the operator's right") {
				t.Errorf("%s: %d %s", name, code, text)
			}
		default:
			var err error
			if strings.HasSuffix(name, "/Snapshot") {
				var s grpc.ClientStream
				s, err = client.ActiveConnection().NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, name)
				if err == nil {
					err = s.SendMsg(&emptypb.Empty{})
				}
				if err == nil {
					err = s.RecvMsg(&emptypb.Empty{})
				}
			} else {
				err = client.ActiveConnection().Invoke(t.Context(), name, &emptypb.Empty{}, &emptypb.Empty{})
			}
			if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "operator.allowed-cn") {
				t.Errorf("%s: %v", name, err)
			}
		}
		refused++
		told := func(l string) bool { return strings.HasPrefix(l, name+" refused ") }
		if !slices.ContainsFunc(g.told(t, "eu"), told) {
			t.Errorf("%s is not told", name)
		}
	}
	if refused < 30 {
		t.Errorf("only %d calls need the right", refused)
	}
	if _, err := client.AlarmList(t.Context()); err != nil {
		t.Errorf("the list of alarms: %v", err)
	}
	one := &clientv3.AlarmMember{MemberID: 1, Alarm: pb.AlarmType_NOSPACE}
	if _, err := client.AlarmDisarm(t.Context(), one); status.Code(err) != codes.PermissionDenied {
		t.Errorf("alarms are disarmed: %v", err)
	}
	if _, err := client.MemberList(t.Context()); err != nil {
		t.Errorf("the list of members: %v", err)
	}
}

func (g *guarded) clientIsRefusedOverJSON(t *testing.T) {
	for path, body := range map[string]string{
		"/v3/maintenance/snapshot":            `{}`,
		"/v3/maintenance/transfer-leadership": `{"targetID":"1"}`,
		"/v3/maintenance/alarm":               `{"action":"DEACTIVATE"}`,
		"/v3/cluster/member/add":              `{"peerURLs":["http://evil@10.0.0.1:1"]}`,
		"/v3/cluster/member/remove":           `{"ID":"1"}`,
		"/v3/auth/enable":                     `{}`,
	} {
		if code, text := g.over(t, "us", g.app, "", "POST", path, body); code == http.StatusOK ||
			!strings.Contains(text, "needs the operator's right") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	want := `/etcdserverpb.Cluster/MemberAdd refused [] map[peerURLs:http://evil@10.0.0.1:1]`
	if lines := g.told(t, "us"); !slices.Contains(lines, want) {
		t.Errorf("not told: %s in\n%s", want, strings.Join(lines, "\n"))
	}
	g.clientIsNobodyElse(t)
	if code, text := g.over(t, "us", g.app, "", "POST", "/v3/kv/range", `{"key":"aw=="}`); code != http.StatusOK {
		t.Errorf("a read over JSON: %d %s", code, text)
	}
	if code, text := g.over(t, "us", g.app, "", "GET", "/mimir/v1/fleet", ""); code != http.StatusOK {
		t.Errorf("the picture of the fleet: %d %s", code, text)
	}
}

// clientIsNobodyElse tries to come through the gateway as the operator whose watch is open there.
func (g *guarded) clientIsNobodyElse(t *testing.T) {
	post := func(c *http.Client, path, body, claim string) *http.Response {
		url := g.nodes["us"].ClientURL() + path
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Grpc-Metadata-Mimir-Gateway-Request", claim)
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	as := func(block TLS) *http.Client {
		transport := &http.Transport{TLSClientConfig: dialed(t, block)}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	watch := post(as(g.operator), "/v3/watch", `{"create_request":{"key":"aw=="}}`, "")
	defer watch.Body.Close()
	if _, err := watch.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	app := as(g.app)
	for claim := range 32 { // the watch has one of these names
		answer := post(app, "/v3/maintenance/snapshot", `{}`, fmt.Sprint(claim))
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if !strings.Contains(string(text), "needs the operator's right") {
			t.Fatalf("as somebody else: %s", text)
		}
	}
}

func (g *guarded) operatorIsLetIn(t *testing.T) {
	const snapshot = `/v3/maintenance/snapshot`
	if code, text := g.over(t, "us", g.app, testToken, "POST", snapshot, `{}`); code != http.StatusOK {
		t.Errorf("a snapshot over JSON with a token: %d %s", code, text)
	}
	if code, text := g.over(t, "us", g.operator, "", "POST", snapshot, `{}`); code != http.StatusOK {
		t.Errorf("a snapshot over JSON with a certificate: %d %s", code, text)
	}
	secure, err := ClientTLSConfig(g.app, false)
	if err != nil {
		t.Fatal(err)
	}
	robot, err := clientv3.New(clientv3.Config{
		Endpoints: []string{g.nodes["eu"].ClientURL()}, TLS: secure, Token: testToken, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer robot.Close()
	if _, err := robot.HashKV(t.Context(), g.nodes["eu"].ClientURL(), 0); err != nil {
		t.Errorf("a hash with a token: %v", err)
	}
	operator := etcdClient(t, g.nodes["eu"], g.operator)
	copied, err := operator.Snapshot(t.Context())
	if err == nil {
		_, err = io.Copy(io.Discard, copied)
	}
	if err != nil {
		t.Errorf("a snapshot: %v", err)
	}
	added, err := operator.MemberAddAsLearner(t.Context(), []string{"http://eu-2@127.0.0.1:1"})
	if err != nil {
		t.Errorf("a member: %v", err)
	} else if _, err := operator.MemberRemove(t.Context(), added.Member.ID); err != nil {
		t.Errorf("a member removed: %v", err)
	}
	// The region that follows carries the order on to the primary, which asks for no right a second time.
	if _, err := adminClient(t, g.nodes["eu"], g.app).Switchover(t.Context(), "eu"); err == nil {
		t.Error("a client moved the primary")
	}
	report, err := adminClient(t, g.nodes["eu"], g.operator).Switchover(t.Context(), "eu")
	if err != nil || report.To != "eu" {
		t.Errorf("switchover by a certificate: %+v, %v", report, err)
	}
	byToken := adminClient(t, g.nodes["us"], g.app).WithToken(testToken)
	if _, err := byToken.Tails(t.Context()); err != nil {
		t.Errorf("tails by a token: %v", err)
	}
	if report, err = byToken.Switchover(t.Context(), "us"); err != nil || report.To != "us" {
		t.Errorf("switchover by a token: %+v, %v", report, err)
	}
	g.operatorIsTold(t)
}

func (g *guarded) operatorIsTold(t *testing.T) {
	for at, wanted := range map[string][]string{
		"us": {
			"/etcdserverpb.Maintenance/Snapshot begun [token robot] map[]",
			"/etcdserverpb.Maintenance/Snapshot done [token robot] map[]",
			"GET /mimir/v1/tails done [token robot] map[]",
			"POST /mimir/v1/switchover begun [token robot] map[to:us]",
			"POST /mimir/v1/switchover done [token robot] map[to:us]",
		},
		"eu": {
			"/etcdserverpb.Maintenance/HashKV done [token robot] map[]",
			"/etcdserverpb.Maintenance/Snapshot done [certificate CN=op] map[]",
			"/etcdserverpb.Cluster/MemberAdd done [certificate CN=op] map[isLearner:true " +
				"peerURLs:http://eu-2@127.0.0.1:1]",
			"POST /mimir/v1/switchover refused [] map[to:eu]",
			"POST /mimir/v1/switchover done [certificate CN=op] map[to:eu]",
		},
	} {
		lines := g.told(t, at)
		for _, want := range wanted {
			if !slices.Contains(lines, want) {
				t.Errorf("%s does not tell: %s in\n%s", at, want, strings.Join(lines, "\n"))
			}
		}
	}
	node, err := adminClient(t, g.nodes["us"], g.app).Node(t.Context())
	if err != nil || node.Operators != "operator.allowed-cn, operator.token-file" ||
		slices.ContainsFunc(node.Open, func(s string) bool { return strings.Contains(s, "operator") }) {
		t.Errorf("node: %+v, %v", node, err)
	}
}

// Without a rule every client is an operator, as before there was one, and the node says so wherever it can be reached.
func TestWithoutARuleEveryClientIsAnOperator(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(*Config)
		operators string
		open      bool
	}{
		"loopback": {func(*Config) {}, admin.Everybody, false},
		"exposed":  {func(c *Config) { c.ListenClient = "0.0.0.0:2379" }, admin.Everybody, true},
		"with TLS": {func(c *Config) { c.ClientTLS = TLS{Cert: "c", Key: "k", CA: "a"} }, admin.Everybody, true},
		"a rule":   {func(c *Config) { c.Operator.AllowedURIs = []string{"x://y"} }, "operator.allowed-uri", false},
	} {
		log := &logged{}
		c := DefaultConfig()
		test.change(&c)
		s := &server{config: &c}
		s.logger, _ = newLogger(&c, log)
		var err error
		if s.gate, s.audit, err = c.Operator.newGate(s.logger); err != nil {
			t.Fatal(err)
		}
		open := slices.ContainsFunc(s.openNow(), func(text string) bool {
			return strings.Contains(text, "every client is an operator: ") &&
				strings.Contains(text, "operator.token-file")
		})
		if s.operators() != test.operators || open != test.open {
			t.Errorf("%s: %s, open %t", name, s.operators(), open)
		}
		s.audit.Close()
	}
	c := testConfig(t, "free")
	runNode(t, c)
	client := etcdClient(t, c, TLS{})
	eventually(t, "anybody gets a hash", func(ctx context.Context) bool {
		_, err := client.HashKV(ctx, c.ClientURL(), 0)
		return err == nil
	})
	if _, err := adminClient(t, c, TLS{}).Tails(t.Context()); err != nil {
		t.Errorf("tails: %v", err)
	}
}

// What cannot be is refused before anything is opened.
func TestRulesOfOperatorsThatCannotBe(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none", "file")
	for want, change := range map[string]func(*Config){
		"need client-tls.ca":                   func(c *Config) { c.Operator.AllowedCN = []string{"op"} },
		"audit-log-required needs audit-log":   func(c *Config) { c.Operator.AuditRequired = true },
		"operator.token-file: open " + missing: func(c *Config) { c.Operator.TokenFile = missing },
		"audit-log: open " + missing:           func(c *Config) { c.Operator.AuditLog = missing },
	} {
		c := testConfig(t, "n")
		change(c)
		err := c.Validate()
		if err == nil {
			err = Run(t.Context(), c, Options{LogTo: &logged{}})
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
	}
}
