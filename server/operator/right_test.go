package operator

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	aliceToken = "alice-0123456789abcdef0123456789"
	otherToken = "other-0123456789abcdef0123456789"
)

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func certificateOf(cn string, names ...string) *x509.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: cn}}
	for _, name := range names {
		if strings.Contains(name, "://") {
			u, _ := url.Parse(name)
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

func tokensIn(t *testing.T, text string) (*Tokens, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := OpenTokens(file, silent())
	if err != nil {
		t.Fatal(err)
	}
	return tokens, file
}

// broken is a way that says of itself that it is in use, and knows nobody.
type broken struct{}

func (broken) Operator(context.Context, *Caller) (string, error) {
	return "", errors.New("no user was shown")
}

func (broken) Used() bool { return true }

// Who is an operator is who one of the ways that are in use knows; everybody, if none is in use.
func TestWhoIsAnOperator(t *testing.T) {
	byCN := &Certificates{AllowedCN: []string{"op"}}
	both := &Certificates{AllowedCN: []string{"op"}, AllowedURIs: []string{"mimir://ops"}}
	host := &Certificates{AllowedHostnames: []string{"ops.example"}}
	tokens, _ := tokensIn(t, "# of operators\n\nalice "+aliceToken+"\n"+otherToken+"\n")
	app, op := certificateOf("app", "app.example"), certificateOf("op", "ops.example")
	for _, test := range []struct {
		name   string
		links  []Link
		caller Caller
		who    string // "" if it is refused
		why    string
	}{
		{"no way", []Link{&Certificates{}}, Caller{}, "anybody", ""},
		{"no way, and a token", []Link{&Certificates{}}, Caller{Tokens: []string{"x"}}, "anybody", ""},
		{"its name", []Link{byCN}, Caller{Certificate: op}, "certificate CN=op", ""},
		{"another name", []Link{byCN}, Caller{Certificate: app}, "", `of "app", which is not in operator.allowed-cn`},
		{"no certificate", []Link{byCN}, Caller{}, "", "no certificate was shown"},
		{"one of two", []Link{both}, Caller{Certificate: op}, "", "operator.allowed-uri"},
		{"both", []Link{both}, Caller{Certificate: certificateOf("op", "mimir://ops")}, "certificate CN=op", ""},
		{"its host", []Link{host}, Caller{Certificate: op}, "certificate CN=op", ""},
		{"another host", []Link{host}, Caller{Certificate: app}, "", "operator.allowed-hostname"},
		{"a token", []Link{tokens}, Caller{Tokens: []string{aliceToken}}, "token alice", ""},
		{"a token without a name", []Link{tokens}, Caller{Tokens: []string{otherToken}}, "token number 2", ""},
		{"the second token", []Link{tokens}, Caller{Tokens: []string{"x", aliceToken}}, "token alice", ""},
		{"a name is no token", []Link{tokens}, Caller{Tokens: []string{"alice"}}, "", "not in operator.token-file"},
		{"a part of a token", []Link{tokens}, Caller{Tokens: []string{aliceToken[1:]}}, "",
			"not in operator.token-file"},
		{"no token", []Link{tokens}, Caller{Certificate: op}, "", "--token-file"},
		{"either", []Link{byCN, tokens}, Caller{Tokens: []string{aliceToken}, Certificate: app}, "token alice", ""},
		{"neither", []Link{byCN, tokens}, Caller{Certificate: app}, "", "; no token was shown"},
		{"root is asked too", []Link{&Certificates{}, broken{}}, Caller{}, "", "no user was shown"},
	} {
		g := NewGate(nil, test.links...)
		id, err := g.identify(t.Context(), &test.caller)
		who, proven := id.who, id.proven
		switch {
		case test.who != "" && (err != nil || !strings.HasPrefix(who, test.who)):
			t.Errorf("%s: %q, %v", test.name, who, err)
		case test.who == "" && (err == nil || !strings.Contains(err.Error(), test.why)):
			t.Errorf("%s: %q, %v", test.name, who, err)
		case proven != (err == nil && test.who != "anybody"):
			t.Errorf("%s: proven %t", test.name, proven)
		}
		if every := g.Everybody(); every != (test.who == "anybody") {
			t.Errorf("%s: everybody %t", test.name, every)
		}
	}
}

// The file of tokens is read again when it changes: one that is taken out is none any more, and a file that is no good
// takes nothing away.
func TestTokensChange(t *testing.T) {
	tokens, file := tokensIn(t, "alice "+aliceToken+"\n")
	now := time.Now()
	for i, step := range []struct {
		text   string // "-": the file is removed
		known  []string
		remove bool
	}{
		{text: "alice " + aliceToken + "\nbob " + otherToken + "\n", known: []string{"alice", "bob"}},
		{text: "short\n", known: []string{"alice", "bob"}},
		{text: "a line of words " + aliceToken, known: []string{"alice", "bob"}},
		{remove: true, known: []string{"alice", "bob"}},
		{text: "bob " + otherToken + "\n", known: []string{"bob"}},
		{text: "# nobody\n", known: nil},
	} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if step.remove {
			os.Remove(file)
		}
		now = now.Add(rereadInterval)
		var known []string
		for _, one := range tokens.current(now) {
			known = append(known, one.name)
		}
		if !slices.Equal(known, step.known) {
			t.Errorf("step %d: %q", i, known)
		}
	}
}

// A token that is exchanged for one of the same length is none any more, also where the file keeps its time, as what
// copies files with their times leaves it.
func TestATokenThatIsExchangedForItsLike(t *testing.T) {
	tokens, file := tokensIn(t, "alice "+aliceToken+"\n")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	exchanged := strings.Repeat("n", len(aliceToken))
	if err := os.WriteFile(file, []byte("alice "+exchanged+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	tokens.current(time.Now().Add(rereadInterval))
	if who, err := tokens.Operator(t.Context(), &Caller{Tokens: []string{aliceToken}}); err == nil {
		t.Errorf("the former token is that of %s", who)
	}
	if _, err := tokens.Operator(t.Context(), &Caller{Tokens: []string{exchanged}}); err != nil {
		t.Errorf("the new token: %v", err)
	}
}

// What cannot be a file of tokens is refused at the start, without a word of what is in it.
func TestTokensThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "no token is in it",
		"# nothing\n":                "no token is in it",
		"secret-of-few":              "a token of 13 characters, at least 32 are needed",
		"secret of " + aliceToken:    "a line of 3 words",
		aliceToken + "\nalice short": "a token of 5 characters",
	} {
		file := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenTokens(file, silent())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") ||
			!strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := ReadToken(file); err == nil {
			t.Errorf("%q: a client takes it", text)
		}
	}
	_, file := tokensIn(t, "alice "+aliceToken+"\n"+otherToken)
	if token, err := ReadToken(file); err != nil || token != aliceToken {
		t.Errorf("a client shows %q, %v", token, err)
	}
}

// What any client may call, and what anybody, is this and nothing else; all other calls are operators'.
func TestWhatIsNotForOperatorsAlone(t *testing.T) {
	want := map[Right][]string{
		Client: {
			auth + "AuthStatus", auth + "RoleGet", auth + "RoleList", auth + "UserGet", auth + "UserList",
			cluster + "MemberList", election + "Campaign", election + "Leader", election + "Observe",
			election + "Proclaim", election + "Resign", kv + "Compact", kv + "DeleteRange", kv + "Put", kv + "Range",
			kv + "RangeStream", kv + "Txn",
			lease + "LeaseGrant", lease + "LeaseKeepAlive", lease + "LeaseLeases", lease + "LeaseRevoke",
			lease + "LeaseTimeToLive", lock + "Lock", lock + "Unlock", maintenance + "Status", watch + "Watch",
			"GET /mimir/v1/fleet", "GET /mimir/v1/node", "GET /console/events", // which show the same
		},
		Anyone: {
			auth + "Authenticate", health + "Check", health + "List", health + "Watch", "/health", "/version",
			"GET /metrics", "/livez", "/livez/serializable_read", "/readyz", "/readyz/data_corruption",
			"/readyz/linearizable_read", "/readyz/node_health", "/readyz/non_learner", "/readyz/serializable_read",
			"/v3/", "/v3beta/", // whose calls need what they need over gRPC
			partial + "Follow",                            // with a secret of his own
			"/mimir/v1/",                                  // where there is no call
			"GET /console/", "POST /v3/auth/authenticate", // a page with nothing in it, and to log in there
		},
	}
	for right, names := range want {
		var got []string
		for name, call := range All() {
			if call.Right == right {
				got = append(got, name)
			}
		}
		slices.Sort(names)
		if slices.Sort(got); !slices.Equal(got, names) {
			t.Errorf("right %d: %q, want %q", right, got, names)
		}
	}
	for name, call := range All() {
		if call.harmless != nil && name != maintenance+"Alarm" {
			t.Errorf("%s is let in by what is asked", name)
		}
	}
}
