package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/replays"
)

// puts is an engine for which a tail is one key, of its name.
type puts struct{}

// Tails tells of no tail, and of who denies that there is one.
func (puts) Tails(ctx context.Context, m *replays.Means) (*replays.List, error) {
	fleet, err := m.Admin.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	list := &replays.List{Tails: []replays.Tail{}, Silent: []string{}}
	for _, r := range fleet.Regions {
		for _, n := range r.Nodes {
			if _, err := m.Admin.At(n.ClientURLs...).Tails(ctx); err != nil {
				list.Silent = append(list.Silent, n.Name)
			}
		}
	}
	return list, nil
}

func (puts) Writes(context.Context, *replays.Means, string, int) ([]*admin.Write, error) {
	return nil, errors.New("no such tail")
}

func (puts) Replay(ctx context.Context, m *replays.Means, tail string, dry bool, to replays.Teller) error {
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return m.Dial(ctx) }
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"here"}, Token: m.Token, DialOptions: []grpc.DialOption{grpc.WithContextDialer(dial)},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	if !dry {
		_, err = client.Put(ctx, tail, "")
	}
	return err
}

// askedReplay orders a replay, and returns how it ended, or the status and the text of a refusal.
func askedReplay(
	t *testing.T, client *http.Client, url, token, method, path, body string,
) (replays.State, int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url+"/mimir/v1/replay"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := replays.State{}
	if answer.StatusCode == http.StatusOK && method == http.MethodPost {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	return s, answer.StatusCode, string(text)
}

// A replay is an operator's, by certificate or token, at ports where tails are told, and is done to keys in his name
// and by no right but his: where users are enabled it takes a user. The audit log tells who ordered what, and how it
// ended.
func TestAReplayIsInTheNameOfWhoOrdersIt(t *testing.T) {
	g := newGuarded(t)
	us := g.nodes["us"]
	https := func(block TLS) *http.Client {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: dialed(t, block)}}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	app, op, url := https(g.app), https(g.operator), us.ClientURL()
	const order = `{"tail":"k","region":"us","epoch":1}`
	for _, c := range []struct{ method, path, body string }{
		{"POST", "", order}, {"GET", "", ""}, {"POST", "/stop", "{}"}, {"GET", "/tails", ""}, {"GET", "/tails/k", ""},
	} {
		if _, code, text := askedReplay(t, app, url, "", c.method, c.path, c.body); code != http.StatusForbidden ||
			!strings.Contains(text, "needs the operator's right") {
			t.Errorf("%s %s of who is no operator: %d %s", c.method, c.path, code, text)
		}
		plain := "http://" + us.ListenHTTP
		_, code, _ := askedReplay(t, http.DefaultClient, plain, testToken, c.method, c.path, c.body)
		if code != http.StatusNotFound {
			t.Errorf("%s %s at a port without tails: %d", c.method, c.path, code)
		}
	}
	for who, c := range map[string]struct {
		client *http.Client
		token  string
		silent string
	}{"certificate": {op, "", `["eu-1"]`}, "token": {app, testToken, `[]`}} {
		if _, code, text := askedReplay(t, c.client, url, c.token, "GET", "/tails", ""); code != http.StatusOK ||
			!strings.Contains(text, `"silent":`+c.silent) {
			t.Errorf("tails, by %s: %d %s", who, code, text)
		}
		if s, _, text := askedReplay(t, c.client, url, c.token, "POST", "", order); !s.Done || s.By == "" {
			t.Errorf("by %s: %s", who, text)
		}
	}

	ctx := t.Context()
	root := etcdClient(t, us, g.operator)
	for _, err := range []error{
		second(root.UserAdd(ctx, "root", "geheim")), second(root.UserGrantRole(ctx, "root", "root")),
		second(root.UserAdd(ctx, "op", "")), second(root.UserGrantRole(ctx, "op", "root")),
		second(root.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s, _, text := askedReplay(t, op, url, "", "POST", "", order); !s.Done {
		t.Errorf("by a certificate of a user: %s", text)
	}
	s, _, text := askedReplay(t, app, url, testToken, "POST", "", order)
	if s.Done || !strings.Contains(s.Error, "token") {
		t.Errorf("by a token that is of no user: %s", text)
	}
	eventually(t, "the audit log tells of both", func(context.Context) bool {
		text, err := os.ReadFile(g.audit["us"])
		if err != nil {
			t.Fatal(err)
		}
		failed := `"op":"POST /mimir/v1/replay","outcome":"failed","who":"token robot"`
		return strings.Contains(string(text), `"op":"POST /mimir/v1/replay","outcome":"begun"`) &&
			strings.Contains(string(text), failed) && strings.Contains(string(text), "invalid auth token") &&
			strings.Contains(string(text), `"args":{"tail":"k","region":"us","epoch":"1"}`)
	})
}
