package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// listening returns where somebody listens who does with each connection what do does; nil: nothing.
func listening(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if do != nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				do(c)
			}
		}()
	}
	return l.Addr().String()
}

// What answers without an end is no node, and costs no more than a bounded answer.
func TestAnAnswerWithoutAnEnd(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		page := []byte(strings.Repeat(" ", 1<<20))
		for {
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	c, err := NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.answer = time.Minute
	_, err = c.Node(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not an answer of a Mimir node") {
		t.Errorf("got %v", err)
	}
}

// What answers anything, and is no node, keeps nobody from the picture of one.
func TestAnEndpointThatIsNoNode(t *testing.T) {
	serve := func(text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, text)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	node := serve(`{"fleet": "f", "regions": [{"name": "r"}]}`)
	for _, text := range []string{"null", "{}", `{"regions": null, "status": "ok"}`} {
		other := serve(text)
		c, err := NewClient([]string{other, node}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Client{c, GivingUp(c, time.Minute)} {
			if f, err := c.Fleet(t.Context()); err != nil || f.Fleet != "f" {
				t.Errorf("%s: %+v, %v", text, f, err)
			}
			if f, err := c.At(other).Fleet(t.Context()); err == nil || !strings.Contains(err.Error(), "Mimir node") {
				t.Errorf("%s: %+v, %v", text, f, err)
			}
		}
	}
}

// An endpoint that does not answer costs the silence and no more, and it is said in plain words what it does.
func TestWhatAnEndpointDoesIsSaid(t *testing.T) {
	hole := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	closed := listening(t, func(c net.Conn) { c.Close() })
	secret := httptest.NewTLSServer(http.NotFoundHandler())
	defer secret.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/node") {
			fmt.Fprint(w, "{}")
			return
		}
		<-r.Context().Done()
	}))
	defer late.Close()
	for name, c := range map[string]struct {
		endpoint string
		through  http.RoundTripper
		want     string
	}{
		"stands still":      {"http://" + listening(t, nil), nil, "for 1s: it takes the connection, and says"},
		"TLS stands still":  {"https://" + listening(t, nil), nil, "and does not begin with TLS"},
		"black hole":        {"http://10.0.0.1:2379", hole, "for 1s: it does not take the connection"},
		"nothing listens":   {"http://127.0.0.1:1", nil, ": nothing listens there (connection refused)"},
		"no such name":      {"http://no.such.name.invalid:1", nil, "no.such.name.invalid"},
		"closes":            {"http://" + closed, nil, closed},
		"certificate":       {secret.URL, nil, ": its certificate is not trusted"},
		"no TLS":            {strings.Replace(plain.URL, "http:", "https:", 1), nil, ": it does not speak TLS there"},
		"answers one thing": {late.URL, nil, "for 1s: it answers for itself, and does not tell of the fleet"},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := NewClient([]string{c.endpoint}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if c.through != nil {
				client = client.Through(c.through)
			}
			silence := time.Minute // for who does something a busy machine is given time
			client.answer = time.Minute
			if name == "answers one thing" {
				client.answer = time.Second
			}
			if strings.HasSuffix(name, "stands still") || name == "black hole" {
				silence = time.Second
			}
			_, err = GivingUp(client, silence).Fleet(t.Context())
			if !errors.Is(err, ErrNoEndpoint) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			for _, internal := range []string{"Get \"", "/mimir/v1", "context deadline", "context canceled"} {
				if strings.Contains(err.Error(), internal) {
					t.Errorf("%v: has %q", err, internal)
				}
			}
		})
	}
}

// Who answers for itself and does not tell of the fleet keeps nobody from the picture of another; alone it is waited
// for as long as it says that a picture takes, and the silence.
func TestWhoDoesNotTellOfTheFleetCostsLittle(t *testing.T) {
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/node") {
			fmt.Fprint(w, `{"fleetWithinSeconds": 0.1}`)
			return
		}
		<-r.Context().Done()
	}))
	defer late.Close()
	tells := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"fleet": "f"}`)
	}))
	defer tells.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusForbidden, "not you")
	}))
	defer refuses.Close()
	asked := func(endpoints ...string) (*replication.FleetStatus, error) {
		t.Helper()
		client, err := NewClient(endpoints, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		client.answer = time.Hour
		return GivingUp(client, time.Second).Fleet(t.Context())
	}
	if f, err := asked(late.URL, tells.URL); err != nil || f.Fleet != "f" {
		t.Errorf("with another: %+v, %v", f, err)
	}
	var silent string
	if _, err := asked(late.URL); err != nil {
		silent = err.Error()
	}
	if want := late.URL + " did not answer for 1.1s: " + stepFleet; !strings.Contains(silent, want) {
		t.Errorf("alone: %q, want %q", silent, want)
	}
	var refused *Error
	if _, err := asked(late.URL, refuses.URL, tells.URL); !errors.As(err, &refused) || refused.Text != "not you" {
		t.Errorf("of another that refuses: %v", err)
	}
}

// What libraries reported to a node is in plain words in what it answers, in pictures of it and of the fleet.
func TestWhatLibrariesReportedIsInPlainWords(t *testing.T) {
	const raw = `rpc error: code = DeadlineExceeded desc = context deadline exceeded`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/mimir/v1/node":
			fmt.Fprintf(w, `{"problem": %q, "votes": {"why": %[1]q, "voters": [{"problem": %[1]q}]}}`, raw)
		case "/mimir/v1/fleet":
			fmt.Fprintf(w, `{"warnings": [%q], "notes": [%[1]q], "regions": [{"problem": %[1]q, "moving": %[1]q}]}`,
				raw)
		default:
			answer(w, nil, errors.New("switch over: "+raw))
		}
	}))
	defer s.Close()
	client, err := NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const want = "no answer came in time"
	n, err := client.Node(t.Context())
	if err != nil || n.Problem != want || n.Votes.Why != want || n.Votes.Voters[0].Problem != want {
		t.Errorf("a node: %+v, %v", n, err)
	}
	for name, c := range map[string]*Client{"a fleet": client, "who is patient": GivingUp(client, time.Minute)} {
		f, err := c.Fleet(t.Context())
		if err != nil || f.Warnings[0] != want || f.Notes[0] != want || f.Regions[0].Problem != want ||
			f.Regions[0].Moving != want {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if _, err := client.Switchover(t.Context(), "eu"); err == nil || err.Error() != "switch over: "+want {
		t.Errorf("a refusal: %v", err)
	}
}

// Who comes forward, step by step, is waited for longer than one silence.
func TestEachStepHasItsTime(t *testing.T) {
	_, s, end := watch(t.Context(), time.Hour)
	defer end()
	s.fired.Store(true)
	for step, want := range map[string]string{stepConnect: stepConnect, stepTLS: stepTLS, stepAnswer: stepAnswer} {
		s.at(step)
		var silent *SilentError
		err := s.said("https://a:1", context.Canceled)
		if !errors.As(err, &silent) || silent.Step != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refusal := &net.OpError{Op: "remote error", Err: tls.AlertError(116)}
	if text := callText(0, refusal); !strings.Contains(text, "certificate required); see --cert and --key") {
		t.Error(text)
	}
}

// How long an endpoint was silent is what is told: of the bounds that a call has the one for its answer is not always
// what ended it.
func TestHowLongNothingWasAnsweredIsSaid(t *testing.T) {
	late := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, os.ErrDeadlineExceeded // as of a dialer, whose bound is its own
	}}
	client, err := NewClient([]string{"http://10.0.0.1:2379"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client = client.Through(late)
	client.answer = time.Hour
	for name, ask := range map[string]func() error{
		"a node":         func() error { _, err := client.Node(t.Context()); return err },
		"the tails":      func() error { _, err := client.Tails(t.Context()); return err },
		"the metrics":    func() error { _, err := client.Metrics(t.Context()); return err },
		"who gives up":   func() error { _, err := GivingUp(client, time.Hour).Fleet(t.Context()); return err },
		"a small matter": func() error { return client.reachable(t.Context(), "http://10.0.0.1:2379") },
	} {
		err := ask()
		if err == nil || !strings.Contains(err.Error(), "http://10.0.0.1:2379 did not answer for ") {
			t.Fatalf("%s: %v", name, err)
		}
		_, text, _ := strings.Cut(err.Error(), " did not answer for ")
		waited, err := time.ParseDuration(text)
		if err != nil || waited > time.Minute {
			t.Errorf("%s: waited for %q, %v", name, text, err)
		}
	}
	if text := callText(3*time.Second+time.Millisecond, context.DeadlineExceeded); text != " did not answer for 3s" {
		t.Error(text)
	}
}
