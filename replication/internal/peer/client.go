package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Service is the name of the stream that carries one question and its answer.
const Service = "call/1"

// Question names what is asked, with the types of its request and its answer. The names are on the wire: never change
// one.
type Question[In, Out any] string

// question is what is asked of a node.
type question struct {
	Op   string `json:"op"`
	Body any    `json:"body,omitempty"`
}

// request is a question whose content is read when it is known whose it is.
type request struct {
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

// answer is what comes back: a body, or an error by the name of its kind with its text.
type answer struct {
	Body  any    `json:"body,omitempty"`
	Error string `json:"error,omitempty"`
	Text  string `json:"text,omitempty"`
}

// Client asks other nodes. It is safe for concurrent use.
type Client struct{ transport transport.Transport }

// NewClient returns a client that asks over t.
func NewClient(t transport.Transport) *Client { return &Client{t} }

// Anew returns a context of questions whose failure is none that was known before: transport.Anew.
func Anew(ctx context.Context) context.Context { return transport.Anew(ctx) }

// SilentFor is from the first to the last question, at least, that is put to a peer before an order takes it for one
// that does not answer: what comes up just now, or answers slowly for a moment, has the time to.
const SilentFor = 8 * time.Second

// Ask puts a question to the node at addr and returns its answer. It is for questions that may be asked again: the node
// may have answered although the answer was lost. An error of that node is a [RemoteError]; its kind is found with
// errors.Is.
func Ask[In, Out any](ctx context.Context, c *Client, addr string, q Question[In, Out], in In) (out Out, err error) {
	if _, err := c.exchange(ctx, addr, string(q), in, &out); err != nil {
		return out, fmt.Errorf("ask %s for %s: %w", addr, q, err)
	}
	return out, nil
}

// errLost says that a question was sent and that its answer did not come.
var errLost = errors.New("the answer is lost")

// Lost reports whether an order may have been carried out although its answer did not come.
func Lost(err error) bool { return errors.Is(err, errLost) }

// Order is Ask for a question that has something done. Its error is ErrNotReady if the node was not reached: nothing
// was and will be done. It is ErrUnknownOutcome if the question was sent, and the answer is lost or says that the node
// ended meanwhile.
func Order[In, Out any](ctx context.Context, c *Client, addr string, q Question[In, Out], in In) (out Out, err error) {
	sent, err := c.exchange(ctx, addr, string(q), in, &out)
	if err == nil {
		return out, nil
	}
	var remote *RemoteError
	switch {
	case errors.As(err, &remote):
		if k := remote.kind; k == contract.ErrClosed || k == contract.ErrStopped {
			err = fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, err)
		}
	case errors.Is(err, transport.ErrNoService), errors.Is(err, transport.ErrFleet):
	case sent:
		err = fmt.Errorf("%w: %w: %w", contract.ErrUnknownOutcome, errLost, err)
	case ctx.Err() != nil, errors.Is(err, transport.ErrUnreachable):
		err = fmt.Errorf("%w: %w", contract.ErrNotReady, err)
	}
	return out, fmt.Errorf("ask %s for %s: %w", addr, q, err)
}

// exchange reports whether the question may have reached the node. What the transport makes of the end of ctx is told
// and not wrapped: it may be the cause, which is the caller's and may be of any kind.
func (c *Client) exchange(ctx context.Context, addr, op string, in, out any) (sent bool, err error) {
	asked, err := json.Marshal(question{op, in})
	if err != nil {
		return false, err
	}
	sent, encoded, err := c.carry(ctx, addr, asked)
	switch {
	case err == nil:
		return sent, decode(encoded, out)
	case ctx.Err() != nil:
		return sent, contract.EndedIn(ctx, err)
	default:
		return sent, err
	}
}

// carry brings a question to a node, and its answer back.
func (c *Client) carry(ctx context.Context, addr string, question []byte) (sent bool, answer []byte, err error) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.transport.Open(within, addr, Service)
	if err != nil {
		return false, nil, err
	}
	if err := s.Send(question); err != nil {
		return ctx.Err() != nil || !errors.Is(err, transport.ErrTooLarge), nil, err
	}
	if err := s.CloseSend(); err != nil {
		return true, nil, err
	}
	answer, err = s.Recv()
	return true, answer, err
}

func decode(encoded []byte, out any) error {
	a := answer{Body: out}
	if err := json.Unmarshal(encoded, &a); err != nil {
		return fmt.Errorf("%w: answer: %w", contract.ErrMessage, err)
	}
	if a.Text != "" || a.Error != "" {
		return &RemoteError{kind: kindNamed(a.Error), text: a.Text}
	}
	return nil
}
