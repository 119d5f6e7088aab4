package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/credentials"
)

// house is a listener with its files, and a log.
type house struct {
	*Keeper
	*files
	log    bytes.Buffer
	config *tls.Config
}

func newHouse(t *testing.T, shows *authority, trusts ...*authority) *house {
	t.Helper()
	h := &house{files: newFiles(t, "client-tls")}
	h.show(t, shows, "server")
	h.believe(t, trusts...)
	h.Keeper = New(Options{Logger: slog.New(slog.NewTextHandler(&h.log, nil))})
	var err error
	if h.config, err = h.Listener([]string{"h2"}, h.Block); err != nil {
		t.Fatal(err)
	}
	return h
}

// meet makes a connection to the house, and returns its inner end, and whose certificate the dialer saw.
func (h *house) meet(t *testing.T, dial *Dialer) (inside *guest, outside net.Conn, saw string, err error) {
	t.Helper()
	near, far := net.Pipe()
	inside = &guest{Conn: far}
	t.Cleanup(func() { near.Close(); far.Close() })
	deadline := time.Now().Add(30 * time.Second)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	accepted := make(chan error, 1)
	go func() {
		server := tls.Server(inside, h.config)
		err := server.Handshake()
		if err == nil {
			_, err = server.Write([]byte("x"))
		} else {
			far.Close()
		}
		accepted <- err
	}()
	outside, info, errNear := dial.ClientHandshake(t.Context(), "localhost", near)
	if errNear != nil {
		near.Close()
	} else {
		_, errNear = outside.Read(make([]byte, 1)) // with TLS 1.3 a refusal comes behind the handshake
		state := info.(credentials.TLSInfo).State
		saw = state.PeerCertificates[0].Subject.CommonName
	}
	return inside, outside, saw, errors.Join(errNear, <-accepted)
}

// person returns a dialer that shows a certificate of one authority and trusts others.
func person(t *testing.T, shows *authority, trusts ...*authority) *Dialer {
	t.Helper()
	f := newFiles(t, "peer-tls")
	f.show(t, shows, "person")
	f.believe(t, trusts...)
	d, err := New(Options{}).Dialer(f.Block)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A replacement that cannot be used changes nothing, and is told once for each thing that is wrong with it (T2).
func TestWhatCannotBeUsedChangesNothing(t *testing.T) {
	a, other := newAuthority(t, "a", day), newAuthority(t, "b", day)
	gone, late := span{-48 * time.Hour, -24 * time.Hour}, span{time.Hour, 48 * time.Hour}
	cert, key := a.issue(t, "next", day)
	expired, itsKey := a.issue(t, "expired", gone)
	future, futureKey := a.issue(t, "future", late)
	bad := bytes.Replace(other.pem, []byte("MII"), []byte("AAA"), 1)
	for _, test := range []struct {
		name, want string
		change     func(h *house)
	}{
		{"half a certificate", "certificate", func(h *house) { put(t, h.Cert, cert[:len(cert)/2]) }},
		{"another's key", "does not match", func(h *house) { put(t, h.Cert, cert) }},
		{"no key", "no such file", func(h *house) { os.Remove(h.Key) }},
		{"expired", "has expired", func(h *house) { put(t, h.Cert, expired); put(t, h.Key, itsKey) }},
		{"not valid yet", "not valid before", func(h *house) { put(t, h.Cert, future); put(t, h.Key, futureKey) }},
		{"no authority", "no certificate in it", func(h *house) { put(t, h.CA) }},
		{"authorities gone", "no such file", func(h *house) { os.Remove(h.CA) }},
		{"half of two authorities", "1 of 2 certificates", func(h *house) { put(t, h.CA, a.pem, other.pem[:200]) }},
		{"one of two authorities broken", "1 of 2 certificates", func(h *house) { put(t, h.CA, a.pem, bad) }},
		{"a key in the place of authorities", "no certificate in it", func(h *house) { put(t, h.CA, key) }},
		{"expired authorities", "have expired", func(h *house) { h.believe(t, newAuthority(t, "old", gone)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, member := newHouse(t, a, a), person(t, a, a)
			test.change(h)
			for range 10 {
				h.look(time.Now())
			}
			if _, _, saw, err := h.meet(t, member); err != nil || saw != "server" {
				t.Errorf("the former is not in use: saw %q, %v", saw, err)
			}
			text := h.log.String()
			if strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, test.want) ||
				strings.Contains(text, "PRIVATE") {
				t.Errorf("not one line of what is wrong:\n%s", text)
			}
			if r := h.Report(); len(r.Refused) != 1 || !strings.Contains(r.Refused[0], test.want) {
				t.Errorf("%+v", r.Refused)
			}
			figures(t, h.Keeper, `result="refused"} 1`, "mimir_tls_replacement_refused{", "} 1")
			put(t, h.Cert, cert)
			put(t, h.Key, key)
			h.believe(t, a, other)
			h.look(time.Now())
			if _, _, saw, err := h.meet(t, member); err != nil || saw != "next" || len(h.Report().Refused) > 0 {
				t.Errorf("what is right again is not used: saw %q, %v, %v", saw, err, h.Report().Refused)
			}
		})
	}
}

func figures(t *testing.T, k *Keeper, want ...string) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(k)
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, w := range want {
		if text := answer.Body.String(); answer.Code != http.StatusOK || !strings.Contains(text, w) {
			t.Errorf("%s is not in\n%s", w, text)
		}
	}
}

// Another thing that is wrong is another line, and so is its end.
func TestEachChangeOfWhatIsWrongIsTold(t *testing.T) {
	a := newAuthority(t, "a", day)
	h := newHouse(t, a, a)
	cert, err := os.ReadFile(h.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{nil, a.pem, nil, cert} {
		put(t, h.Cert, text)
		h.look(time.Now())
		h.look(time.Now())
	}
	text := h.log.String()
	if strings.Count(text, "level=ERROR") != 3 || strings.Count(text, "again as it is used") != 1 {
		t.Error(text)
	}
}

// Authorities are exchanged with both in one file for a time. Who stands under one that is taken away has to leave,
// on either side, nobody else has (T1, T3).
func TestAuthoritiesAreExchanged(t *testing.T) {
	old, fresh, servers := newAuthority(t, "old", day), newAuthority(t, "new", day), newAuthority(t, "s", day)
	h := newHouse(t, servers, old)
	first, second := person(t, old, servers), person(t, fresh, servers)
	inside, _, _, err := h.meet(t, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := h.meet(t, second); err == nil {
		t.Error("an authority is trusted that is not in the file")
	}
	h.believe(t, old, fresh)
	h.look(time.Now())
	early, _, _, err := h.meet(t, second)
	if err != nil || inside.leaves() {
		t.Fatalf("with both in the file: %v", err)
	}
	closed, _, _, err := h.meet(t, first)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range closed.after {
		f()
	}
	h.believe(t, fresh)
	h.look(time.Now())
	if _, _, _, err := h.meet(t, first); err == nil {
		t.Error("an authority is trusted that was taken away")
	}
	if !inside.leaves() || early.leaves() || closed.leaves() {
		t.Errorf("leave: under the old %v, under the new %v, gone before %v", inside.leaves(), early.leaves(),
			closed.leaves())
	}
	if !strings.Contains(h.log.String(), "connections=1 ") {
		t.Error(h.log.String())
	}
}

// The side that dials does the same.
func TestADialerFollowsItsFiles(t *testing.T) {
	old, fresh := newAuthority(t, "old", day), newAuthority(t, "new", day)
	h := newHouse(t, old, old, fresh)
	f := newFiles(t, "peer-tls")
	f.show(t, old, "one")
	f.believe(t, old)
	k := New(Options{Grace: time.Millisecond})
	d, err := k.Dialer(f.Block)
	if err != nil {
		t.Fatal(err)
	}
	inside, outside, _, err := h.meet(t, d)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, inside) // or nobody reads the last word of TLS
	changes := 0
	d.OnChange(func() { changes++ })
	f.believe(t, fresh)
	k.look(time.Now())
	left := make(chan struct{})
	outside.(Guest).OnClose(func() { close(left) })
	select {
	case <-left:
	case <-time.After(30 * time.Second):
		t.Error("a connection to who is not trusted any longer stands")
	}
	if changes != 1 {
		t.Errorf("told of %d changes", changes)
	}
	if _, _, _, err := h.meet(t, d); err == nil {
		t.Error("a dialer trusts what was taken away")
	}
	h.show(t, fresh, "again")
	h.look(time.Now())
	f.show(t, fresh, "two")
	k.look(time.Now())
	if _, _, saw, err := h.meet(t, d); err != nil || saw != "again" {
		t.Errorf("%q, %v", saw, err)
	}
}

// A handshake during which its authority is taken away fails.
func TestAuthorityTakenAwayDuringTheHandshake(t *testing.T) {
	old, fresh := newAuthority(t, "old", day), newAuthority(t, "new", day)
	h := newHouse(t, old, old)
	ask := h.config.GetConfigForClient
	h.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := ask(hello)
		h.believe(t, fresh)
		h.look(time.Now())
		return c, err
	}
	if inside, _, _, err := h.meet(t, person(t, old, old)); err == nil || len(inside.after) > 0 {
		t.Error("it stands")
	}
}

// Who comes back does not come in by what he was once.
func TestNoSessionIsResumed(t *testing.T) {
	old, fresh := newAuthority(t, "old", day), newAuthority(t, "new", day)
	h, first := newHouse(t, old, old), person(t, old, old)
	first.base.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for _, first.base.MaxVersion = range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		h.believe(t, old)
		h.look(time.Now())
		if _, _, _, err := h.meet(t, first); err != nil {
			t.Fatal(err)
		}
		h.believe(t, fresh)
		h.look(time.Now())
		if _, _, _, err := h.meet(t, first); err == nil {
			t.Errorf("%x: a session of before was resumed", first.base.MaxVersion)
		}
	}
}

// What expires is a figure, told to the log when it is near and when it has happened, and in sentences for people.
func TestExpiryIsTold(t *testing.T) {
	soon := newAuthority(t, "soon", span{-time.Hour, 10*24*time.Hour + time.Hour})
	h := newHouse(t, soon, soon, newAuthority(t, "later", span{-time.Hour, 365 * 24 * time.Hour}))
	if text := h.log.String(); strings.Count(text, "expires soon") != 1 {
		t.Error(text)
	}
	figures(t, h.Keeper, fmt.Sprintf(`mimir_tls_expiry_seconds{block="client-tls",kind="authority",serial="%x",`+
		`subject="CN=soon"} %v`, soon.cert.SerialNumber, float64(soon.cert.NotAfter.Unix())))
	wrong, warned := h.Report().Troubles(time.Now())
	if text := strings.Join(warned, "\n"); len(wrong) > 0 || len(warned) != 2 ||
		!strings.Contains(text, "the authority CN=soon, serial") || !strings.Contains(text, "expires in 10 days") {
		t.Errorf("%q, %q", wrong, warned)
	}
	h.look(time.Now().Add(25 * time.Hour))
	h.look(time.Now().Add(25 * time.Hour))
	if text := h.log.String(); strings.Count(text, "has expired: handshakes fail") != 1 {
		t.Error(text)
	}
	old := newAuthority(t, "gone", span{-48 * time.Hour, -time.Hour})
	h = newHouse(t, soon, old) // at the start what has expired is used, and told
	if !strings.Contains(h.log.String(), "has expired: handshakes fail") {
		t.Error(h.log.String())
	}
	if wrong, _ = h.Report().Troubles(time.Now()); len(wrong) != 1 || !strings.Contains(wrong[0], "CN=gone") {
		t.Errorf("%q", wrong)
	}
	h.believe(t, old, soon)
	h.look(time.Now())
	if wrong, warned = h.Report().Troubles(time.Now()); len(wrong) > 0 ||
		!strings.Contains(strings.Join(warned, "\n"), "take it away") {
		t.Errorf("%q, %q", wrong, warned)
	}
}

// The files are looked at without anybody asking.
func TestRunLooks(t *testing.T) {
	a := newAuthority(t, "a", day)
	h := newHouse(t, a, a)
	h.options.Every = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); h.Run(ctx) }()
	h.believe(t, a, newAuthority(t, "b", day))
	for until := time.Now().Add(30 * time.Second); len(h.Report().Certificates) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("not looked at within 30 s")
		}
	}
	cancel()
	<-ended
}

// How long a certificate lasts is told so that nobody takes hours for days.
func TestWhatIsLeftIsTold(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10*24*time.Hour + time.Hour: "10 days", 48 * time.Hour: "2 days", 47 * time.Hour: "47 hours",
		2 * time.Hour: "2 hours", time.Hour: "60 minutes", 90 * time.Second: "less than 2 minutes",
		time.Second: "less than 2 minutes",
	} {
		if got := left(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
