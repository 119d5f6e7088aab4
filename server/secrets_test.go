package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/server/operator"
)

// secretive is a node that was given everything that nobody is to see, and what that is.
type secretive struct {
	*testing.T
	config  *Config
	log     *logged
	secrets map[string]string
}

func newSecretive(t *testing.T) *secretive {
	key, _ := atrest.NewKey()
	s := &secretive{T: t, config: testConfig(t, "solo"), secrets: map[string]string{
		"the key at rest":        key,
		"the fleet key":          "hush-fleet-0123456789abcdef0123456789",
		"a token of an operator": "hush-operator-0123456789abcdef0123456",
		"another token":          "hush-no-operator-0123456789abcdef0123",
		"the key of JWTs":        "hush-jwt-0123456789abcdef0123456789",
		"the key of the storage": "hush-storage-secret",
		"its session":            "hush-storage-session",
		"a password":             "hush-password-one",
		"another password":       "hush-password-two",
		"a wrong password":       "hush-password-wrong",
		"a value":                "hush-value",
	}}
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(storage.Close)
	c := s.config
	c.EncryptionKeyFile = file("keys", s.secrets["the key at rest"]+"\n")
	c.FleetKeyFile = file("fleet", s.secrets["the fleet key"]+"\n")
	c.Operator.TokenFile = file("tokens", "robot "+s.secrets["a token of an operator"]+"\n")
	c.Operator.AuditLog = filepath.Join(t.TempDir(), "audit.log")
	c.AuthToken = "jwt,sign-method=HS256,priv-key=" + file("jwt", s.secrets["the key of JWTs"])
	c.Backup.To = "s3://backups/p?region=r&endpoint=" + storage.URL
	c.Backup.CredentialsFile = file("credentials", fmt.Sprintf("[default]\naws_access_key_id = id\n"+
		"aws_secret_access_key = %s\naws_session_token = %s\n", s.secrets["the key of the storage"],
		s.secrets["its session"]))
	c.LogLevel, c.SlowRequest, c.Pprof, c.BcryptCost = "debug", time.Nanosecond, true, 4
	c.complete()
	return s
}

// ask makes a request over HTTP, and returns what was answered.
func (s *secretive) ask(method, path, token, body string) string {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.config.ClientURL()+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// login returns the token of root.
func (s *secretive) login(password string) string {
	s.Helper()
	var got struct{ Token string }
	text := s.ask("POST", "/v3/auth/authenticate", "", fmt.Sprintf(`{"name":"root","password":%q}`, password))
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		s.Fatal(text, err)
	}
	return got.Token
}

// live has somebody show the node all that is secret, right and wrong.
func (s *secretive) live() {
	operatorToken, value := s.secrets["a token of an operator"], s.secrets["a value"]
	first, second := s.secrets["a password"], s.secrets["another password"]
	for _, one := range [][2]string{
		{"user/add", fmt.Sprintf(`{"name":"root","password":%q}`, first)},
		{"user/grant", `{"user":"root","role":"root"}`}, {"enable", `{}`},
	} {
		if text := s.ask("POST", "/v3/auth/"+one[0], operatorToken, one[1]); !strings.Contains(text, "header") {
			s.Fatal(one[0], text)
		}
	}
	root := s.login(first)
	s.secrets["a JWT"] = root
	if text := s.ask("POST", "/v3/auth/user/changepw", operatorToken, fmt.Sprintf(`{"name":"root","password":%q}`,
		second)); !strings.Contains(text, "header") {
		s.Fatal(text)
	}
	s.secrets["another JWT"] = s.login(second)
	put := fmt.Sprintf(`{"key":"aw==","value":%q}`, base64.StdEncoding.EncodeToString([]byte(value)))
	for _, token := range []string{"", root, root + "x", s.secrets["another token"], s.secrets["another JWT"]} {
		s.ask("POST", "/v3/kv/put", token, put)
		s.ask("POST", "/v3/kv/put", token, put[:len(put)-4])
		s.ask("POST", "/v3/auth/user/add", token, fmt.Sprintf(`{"name":"u","password":%q`, second))
		s.ask("POST", "/v3/auth/user/add", token, fmt.Sprintf(`{"name":"u","password":{%q}}`, second))
		s.ask("POST", "/mimir/v1/switchover", token, fmt.Sprintf(`{"to":"nowhere","token":%q}`, token))
		s.ask("GET", "/mimir/v1/tails/x?token="+token, token, "")
	}
	for _, password := range []string{s.secrets["a wrong password"], second} {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.config.ClientURL()}, Username: "root",
			Password: password, Logger: zap.NewNop()})
		if err == nil {
			_, err = client.Put(s.Context(), "k", value)
			client.Close()
		}
		if (err == nil) != (password == second) {
			s.Errorf("login with %q: %v", password, err)
		}
	}
}

// shown returns everything that somebody may see of the node, by where.
func (s *secretive) shown() map[string]string {
	all := map[string]string{"the log": s.log.String()}
	audit, err := os.ReadFile(s.config.Operator.AuditLog)
	if err != nil {
		s.Fatal(err)
	}
	all["the audit log"] = string(audit)
	for _, path := range []string{
		"/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
		"/metrics", "/mimir/v1/node", "/mimir/v1/fleet", "/mimir/v1/tails", "/mimir/v1/log", "/health",
		"/readyz?verbose", "/version",
	} {
		text := s.ask("GET", path, s.secrets["a token of an operator"], "")
		if len(text) < 2 || strings.Contains(text, operator.ErrDenied.Error()) {
			s.Errorf("%s: %q", path, text)
		}
		all[path] = text
	}
	return all
}

// Secrets are in no log, whatever its level, in no audit log, and on no page: not those that the node was given, nor
// those that are shown to it, right or wrong, in requests that are well formed or not.
func TestSecretsAreNowhereToBeSeen(t *testing.T) {
	s := newSecretive(t)
	node := runRereading(t, s.config)
	s.log = node.log
	eventually(t, "the node serves", func(context.Context) bool {
		_, err := getHTTP(s.config.ClientURL()+"/readyz", nil)
		return err == nil
	})
	s.live()
	next := *s.config
	next.Limits.TxnOps = 64
	next.AuthToken = strings.Replace(next.AuthToken, "HS256", "HS384", 1)
	node.read(next)
	eventually(t, "a backup fails, and that is told", func(context.Context) bool {
		return strings.Contains(s.log.String(), "s3://backups/p") && strings.Contains(s.log.String(), "a login failed")
	})
	for where, text := range s.shown() {
		for what, secret := range s.secrets {
			for _, form := range []string{
				secret, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
			} {
				if strings.Contains(text, form) {
					t.Errorf("%s is in %s", what, where)
				}
			}
		}
		if strings.Contains(text, "$2a$") {
			t.Errorf("the hash of a password is in %s", where)
		}
	}
	for _, want := range []string{"a request was slow", "Unauthenticated"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not tell of it: %s", want)
		}
	}
}
