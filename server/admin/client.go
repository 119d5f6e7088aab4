package admin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// ErrNoEndpoint says that none of the endpoints answered.
var ErrNoEndpoint = errors.New("no endpoint answered")

// An endpoint that does not connect, or does not answer a question, within these times is given up for the next one. To
// tell of its tails a node reads them whole. Of a tail that is on its way something comes within pauseTimeout, however
// long all of it takes.
const (
	dialTimeout   = 3 * time.Second
	answerTimeout = 10 * time.Second
	tailsTimeout  = 5 * time.Minute
	pauseTimeout  = time.Minute
)

// Client asks nodes. It is safe for concurrent use.
type Client struct {
	endpoints []string
	http      *http.Client
	answer    time.Duration // for a question
	tails     time.Duration // for one about tails, and until one begins to come
	pause     time.Duration // while one comes
	waits     waits
	silence   time.Duration // see GivingUp; zero: dialTimeout, and one endpoint is not probed
	secure    bool          // TLS was asked for
	token     string        // of an operator; may be empty
	login     *login        // nil: as nobody
}

// NewClient returns a client of the nodes at endpoints, each host:port or a URL, of which unix:///path and
// unixs:///path are sockets of this machine. A secure configuration makes https the default of those that name no
// scheme.
func NewClient(endpoints []string, secure *tls.Config) (*Client, error) {
	c := &Client{
		answer: answerTimeout, tails: tailsTimeout, pause: pauseTimeout, waits: waits{first: firstWord},
		secure: secure != nil, http: asking(newTransport(secure)),
	}
	for _, e := range endpoints {
		c.endpoints = append(c.endpoints, baseURL(e, secure != nil))
	}
	if len(c.endpoints) == 0 {
		return nil, errors.New("no endpoints")
	}
	return c, nil
}

// asking returns what sends requests. It goes where it was told to and nowhere else: no node sends a client on, and who
// is at an endpoint is not to choose who hears what is asked, and the token with it.
func asking(t http.RoundTripper) *http.Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: t, CheckRedirect: stay}
}

func baseURL(endpoint string, secure bool) string {
	endpoint = strings.TrimRight(endpoint, "/")
	switch {
	case strings.Contains(endpoint, "://"):
		return endpoint
	case secure:
		return "https://" + endpoint
	default:
		return "http://" + endpoint
	}
}

// At returns a client of other endpoints that shares everything else with c, but tells nobody that it waits.
func (c *Client) At(endpoints ...string) *Client {
	other := *c
	other.endpoints, other.waits.tell, other.silence = nil, nil, 0
	secure := strings.HasPrefix(c.endpoints[0], "https://") || strings.HasPrefix(c.endpoints[0], "unixs://")
	for _, e := range endpoints {
		other.endpoints = append(other.endpoints, baseURL(e, secure))
	}
	return &other
}

// Through returns a client that asks by another transport, and shares everything else with c.
func (c *Client) Through(t http.RoundTripper) *Client {
	other := *c
	other.http = asking(t)
	return &other
}

// Apart returns a client with connections of its own, which shares everything else with c: what is asked one after the
// other is asked of who answered first, also where several nodes are behind one address. The caller closes it.
func Apart(c *Client) *Client {
	if t, ok := c.http.Transport.(*http.Transport); ok {
		return c.Through(t.Clone())
	}
	return c
}

// WithToken returns a client that shows an operator's token, and shares everything else with c. One that was given TLS
// shows it to nobody without, but to sockets of this machine.
func (c *Client) WithToken(token string) *Client {
	other := *c
	other.token = token
	return &other
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is what a node answered instead of a result.
type Error struct {
	Status   int    `json:"-"`
	Endpoint string `json:"-"`
	Text     string `json:"error"`
}

func (e *Error) Error() string { return e.Text }

// get decodes the answer of the first endpoint that gives one.
func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.getWithin(ctx, c.answer, path, out)
}

func (c *Client) getWithin(ctx context.Context, bound time.Duration, path string, out any) error {
	return c.each(ctx, func(endpoint string) error {
		ctx, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		defer c.waits.begin(ctx, endpoint)()
		began := time.Now()
		return plainly(endpoint, began, c.ask(ctx, http.MethodGet, endpoint, path, nil, out))
	})
}

// post sends a call that changes something. It is repeated at another endpoint only if it certainly did not arrive.
func (c *Client) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.change(ctx, http.MethodPost, path, body, out)
}

func (c *Client) change(ctx context.Context, method, path string, body []byte, out any) error {
	return c.each(ctx, func(endpoint string) error {
		if err := reachableAloud(ctx, c, endpoint); err != nil {
			return err
		}
		defer c.waits.begin(ctx, endpoint)()
		err := c.ask(ctx, method, endpoint, path, body, out)
		var answered *Error
		if err != nil && !errors.As(err, &answered) {
			return &Error{
				Endpoint: endpoint,
				Text:     fmt.Sprintf("%s did not say how it ended: %v; see mimir status", endpoint, err),
			}
		}
		return err
	})
}

// each calls f for one endpoint after the other until one answers, with a result or an Error. One that says that others
// are to be asked has not answered.
func (c *Client) each(ctx context.Context, f func(endpoint string) error) error {
	endpoints, err := c.inTurn(ctx)
	if err != nil {
		return err
	}
	var failures []string
	var misdirected *Error
	var certificate error
	for _, endpoint := range endpoints {
		err := f(endpoint)
		var answered *Error
		var visited *visitError
		if errors.As(err, &answered) && answered.Status == http.StatusMisdirectedRequest {
			misdirected = cmp.Or(misdirected, answered)
			continue
		}
		if err == nil || errors.As(err, &answered) || errors.As(err, &visited) {
			return err
		}
		if ctx.Err() != nil {
			failures = append(failures, endpoint+" had not answered")
			return fmt.Errorf("%w: %s", ctx.Err(), strings.Join(failures, "; "))
		}
		failures = append(failures, err.Error())
		if Outdated(err) {
			certificate = err
		}
	}
	switch {
	case misdirected == nil && certificate != nil:
		return &outdatedError{strings.Join(failures, "; "), certificate}
	case misdirected == nil:
		return fmt.Errorf("%w: %s", ErrNoEndpoint, strings.Join(failures, "; "))
	case len(failures) == 0:
		return misdirected
	default:
		return fmt.Errorf("%s: %w; no other endpoint answered: %s", misdirected.Endpoint, misdirected,
			strings.Join(failures, "; "))
	}
}

// reachable asks for the node's own picture, which costs nothing. A refusal is an answer.
func (c *Client) reachable(ctx context.Context, endpoint string) error {
	return reach(ctx, c, endpoint, nil)
}

// reach is reachable with what to take of that picture; nil: nothing.
func reach(ctx context.Context, c *Client, endpoint string, page any) error {
	began := time.Now()
	asking, still, end := watch(ctx, cmp.Or(c.silence, dialTimeout))
	defer end()
	err := c.ask(asking, http.MethodGet, endpoint, "/mimir/v1/node", nil, page)
	var refused *Error
	if errors.As(err, &refused) {
		return nil
	}
	return plainly(endpoint, began, still.said(endpoint, err))
}

// reachableAloud is reachable of which it is told that it is waited for.
func reachableAloud(ctx context.Context, c *Client, endpoint string) error {
	defer c.waits.begin(ctx, endpoint)()
	return c.reachable(ctx, endpoint)
}

func (c *Client) ask(ctx context.Context, method, endpoint, path string, body []byte, out any) error {
	answer, err := c.open(ctx, method, endpoint, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(answer, mostAnswer+1))
	if err != nil {
		return fmt.Errorf("%s%s: %w", endpoint, path, err)
	}
	if len(text) > mostAnswer {
		return fmt.Errorf("%s%s: not an answer of a Mimir node: it has more than %d bytes", endpoint, path, mostAnswer)
	}
	if err := unmarshal(inOneLine(text), out); err != nil {
		return fmt.Errorf("%s%s: not an answer of a Mimir node: %w", endpoint, path, err)
	}
	if f, is := out.(*replication.FleetStatus); is && f.Fleet == "" && len(f.Regions) == 0 {
		return fmt.Errorf("%s%s: not an answer of a Mimir node: it is of no fleet", endpoint, path)
	}
	return nil
}

// open returns the body of a good answer; the caller closes it. Who has a user logs in where he is refused without.
func (c *Client) open(ctx context.Context, method, endpoint, path string, body []byte) (io.ReadCloser, error) {
	token := c.token
	if token == "" && c.login != nil {
		token = c.login.last()
	}
	answer, err := c.send(ctx, method, endpoint, path, token, body)
	var refused *Error
	if c.token != "" || c.login == nil || !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		return answer, err
	}
	if token, err = c.login.again(ctx, c, endpoint); err != nil {
		return nil, err
	}
	return c.send(ctx, method, endpoint, path, token, body)
}

// send is open with a token.
func (c *Client) send(
	ctx context.Context, method, endpoint, path, token string, body []byte,
) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, base(endpoint)+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	_, _, socket := socketOf(endpoint)
	if socket {
		request.Host = "localhost"
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" && (!c.secure || socket || request.URL.Scheme == "https") {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.http.Do(request)
	var failed *url.Error
	if socket && errors.As(err, &failed) { // which names a host that there is not
		err = fmt.Errorf("%s%s: %w", endpoint, path, failed.Err)
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	if to := answer.Header.Get("Location"); answer.StatusCode/100 == 3 {
		return nil, fmt.Errorf("%s%s: not a Mimir node: it sends on to %.200q, which was not asked; name the nodes "+
			"themselves", endpoint, path, to)
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	failure := struct {
		Error
		Message string `json:"message"` // of the API of etcd
	}{Error: Error{Status: answer.StatusCode, Endpoint: endpoint}}
	err = json.Unmarshal(text, &failure)
	if failure.Text = cmp.Or(failure.Text, failure.Message); err != nil || failure.Text == "" {
		return nil, fmt.Errorf("%s%s: %s: not a Mimir node?", endpoint, path, answer.Status)
	}
	return nil, &failure.Error
}

// visitError is an error of the caller's own visit: no other endpoint is asked because of it.
type visitError struct{ error }

func (e *visitError) Unwrap() error { return e.error }

// Bounds of what is read of an answer, and of a node's metrics: what is at an endpoint may be no node.
const (
	mostAnswer  = 64 << 20
	mostMetrics = 16 << 20
)

// Metrics returns what a node exports, as text of Prometheus.
func (c *Client) Metrics(ctx context.Context) (text []byte, err error) {
	err = c.each(ctx, func(endpoint string) error {
		ctx, cancel := context.WithTimeout(ctx, c.answer)
		defer cancel()
		defer c.waits.begin(ctx, endpoint)()
		began := time.Now()
		answer, err := c.open(ctx, http.MethodGet, endpoint, "/metrics", nil)
		if err != nil {
			return plainly(endpoint, began, err)
		}
		defer answer.Close()
		text, err = io.ReadAll(io.LimitReader(answer, mostMetrics))
		return err
	})
	return text, err
}
