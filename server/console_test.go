package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
)

// askEverybody is a Looker that asks every node for itself, and tells as silent who did not answer.
func askEverybody(ctx context.Context, client *admin.Client) (*console.Picture, error) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	p := &console.Picture{Asked: fleet.Asked, Primary: fleet.Primary, Silent: []string{}}
	for _, r := range fleet.Regions {
		one := console.Region{Name: r.Name}
		for _, n := range r.Nodes {
			said, err := client.At(n.ClientURLs...).Node(ctx)
			if err != nil {
				p.Silent = append(p.Silent, n.Name+": "+err.Error())
				continue
			}
			one.Nodes = append(one.Nodes, console.Node{Name: said.NodeID})
		}
		p.Regions = append(p.Regions, one)
	}
	return p, nil
}

// firstPicture reads a stream of events until its first picture. It returns the status if there is no stream.
func firstPicture(t *testing.T, client *http.Client, url, token string) (*console.Picture, int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, answer.StatusCode
	}
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 1<<20)
	for kind := ""; in.Scan(); {
		if text, ok := strings.CutPrefix(in.Text(), "event: "); ok {
			kind = text
		}
		if data, ok := strings.CutPrefix(in.Text(), "data: "); ok && kind == "picture" {
			p := &console.Picture{}
			if err := json.Unmarshal([]byte(data), p); err != nil {
				t.Fatal(err)
			}
			return p, answer.StatusCode
		}
	}
	t.Fatalf("%s ended without a picture: %v", url, in.Err())
	return nil, 0
}

// Where clients need a certificate, the fleet is shown to them, and at listen-http, which asks for none, to operators
// alone; and the node that shows it asks the others, which need one too.
func TestTheConsoleOfAGuardedFleet(t *testing.T) {
	g := newGuarded(t)
	us := g.nodes["us"]
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: dialed(t, g.app)}}
	defer secure.CloseIdleConnections()
	eventually(t, "both nodes have told of themselves", func(context.Context) bool {
		p, _ := firstPicture(t, secure, us.ClientURL()+"/console/events", "")
		return p != nil && p.Primary == "us" && len(p.Silent) == 0 && len(p.Regions) == 2 &&
			!slices.ContainsFunc(p.Regions, func(r console.Region) bool {
				return len(r.Nodes) != 1 || r.Nodes[0].Name != r.Name+"-1"
			})
	})
	plain := "http://" + us.ListenHTTP + "/console/"
	for _, test := range []struct {
		path, token string
		want        int
	}{
		{"events", "", http.StatusNotFound},
		{"events", testToken, http.StatusNotFound},
		{"operator/events", "", http.StatusForbidden},
		{"operator/events", strings.Repeat("x", 32), http.StatusForbidden},
		{"operator/events", testToken, http.StatusOK},
		{"operator/settings", "", http.StatusForbidden},
		{"operator/slow", "", http.StatusForbidden},
	} {
		if _, code := firstPicture(t, http.DefaultClient, plain+test.path, test.token); code != test.want {
			t.Errorf("%s with %q: %d, want %d", test.path, test.token, code, test.want)
		}
	}
	told := func() string {
		text, err := os.ReadFile(g.audit["us"])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	eventually(t, "the audit log tells who looked, and who was refused", func(context.Context) bool {
		text := told()
		return strings.Contains(text, `"op":"GET /console/operator/events","outcome":"begun","who":"token robot"`) &&
			strings.Contains(text, `"op":"GET /console/operator/events","outcome":"refused"`) &&
			strings.Contains(text, `"op":"GET /console/operator/settings","outcome":"refused"`) &&
			!strings.Contains(text, testToken)
	})
}

// On a node of its own, with users: a page logs in as root at listen-http, sees the settings and where each is from,
// and the stream does not hold up the end of the node.
func TestTheConsoleLogsIn(t *testing.T) {
	c := testConfig(t, "solo")
	c.ListenHTTP = freeAddr(t)
	c.from("listen-http", "--listen-http")
	stop := runNodeWith(t, c, Options{Look: askEverybody})
	client := etcdClient(t, c, TLS{})
	eventually(t, "the node takes writes", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "k", "v")
		return err == nil
	})
	url := "http://" + c.ListenHTTP
	if p, code := firstPicture(t, http.DefaultClient, url+"/console/events", ""); p == nil || p.Asked != "solo" {
		t.Fatalf("%d %+v", code, p)
	}
	ctx := t.Context()
	for _, err := range []error{
		second(client.UserAdd(ctx, "root", "geheim")), second(client.UserGrantRole(ctx, "root", "root")),
		second(client.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, code := firstPicture(t, http.DefaultClient, url+"/console/events", ""); code != http.StatusOK {
		t.Errorf("what status shows is shown to whom it shows it: %d", code)
	}
	shown := func(token string) (code int, list []console.Setting) {
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/console/operator/settings", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		json.NewDecoder(answer.Body).Decode(&list) //nolint:errcheck // a refusal is no list
		return answer.StatusCode, list
	}
	if code, _ := shown(""); code != http.StatusForbidden {
		t.Errorf("settings without a token: %d", code)
	}
	answer, err := http.Post(url+"/v3/auth/authenticate", "application/json",
		bytes.NewBufferString(`{"name":"root","password":"geheim"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct{ Token string }
	if text, err := io.ReadAll(answer.Body); err != nil || json.Unmarshal(text, &got) != nil || got.Token == "" {
		t.Fatalf("%s: %s", answer.Status, text)
	}
	code, list := shown(got.Token)
	if code != http.StatusOK || len(list) != len(settings) {
		t.Fatalf("%d, %d settings", code, len(list))
	}
	want := map[string]console.Setting{
		"listen-http": {Key: "listen-http", Value: c.ListenHTTP, From: "--listen-http"},
		"log-level":   {Key: "log-level", Value: "info", From: "default"},
	}
	for _, s := range list {
		if w, checked := want[s.Key]; checked && s != w {
			t.Errorf("%+v, want %+v", s, w)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("the end of a node that somebody looked at: %v", err)
	}
}

// A call that panics is one that failed, and told in the log: the process that asks itself goes on.
func TestAPanicWithinTheProcessIsAnAnswer(t *testing.T) {
	var log bytes.Buffer
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half an answer") //nolint:errcheck // it is memory
		panic("broken")
	})
	c := testConfig(t, "solo")
	in := newInside(c, sound(broken, slog.New(slog.NewTextHandler(&log, nil))))
	answer, err := (&http.Client{Transport: in}).Get("http://" + thisNode + "/mimir/v1/node")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusInternalServerError || err != nil || strings.Contains(string(text), "half") {
		t.Errorf("%s: %s, %v", answer.Status, text, err)
	}
	if !strings.Contains(log.String(), "a request panicked") || !strings.Contains(log.String(), "broken") {
		t.Errorf("the log: %s", &log)
	}
}

// Where each setting was set is known: a file, a variable, a flag.
func TestOriginsOfSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	text := "name: us-1\nregion: us\ndata-dir: /tmp/x\npeer-tls:\n  bind: node\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := load(file, func(name string) (string, bool) { return "5s", name == "MIMIR_SHUTDOWN_TIMEOUT" }, nil)
	for key, want := range map[string]string{
		"name": file, "peer-tls.bind": file, "shutdown-timeout": "MIMIR_SHUTDOWN_TIMEOUT", "log-level": "",
	} {
		if got := c.origins[key]; got != want {
			t.Errorf("%s is from %q, want %q", key, got, want)
		}
	}
}
