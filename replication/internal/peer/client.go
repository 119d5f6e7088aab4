package peer

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Service is the name of the stream that carries one question and its answer.
const Service = "call/1"

// Question names what is asked, with the types of its request and its answer. The names are on the wire: never change
// one.
type Question[In, Out any] string

// request is a question to a node.
type request struct {
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

// answer is its answer: a body, or an error by the name of its kind with its text.
type answer struct {
	Body  json.RawMessage `json:"body,omitempty"`
	Error string          `json:"error,omitempty"`
	Text  string          `json:"text,omitempty"`
}

// Client asks other nodes. It is safe for concurrent use.
type Client struct{ transport transport.Transport }

// NewClient returns a client that asks over t.
func NewClient(t transport.Transport) *Client { return &Client{t} }

// Ask puts the question to the node at addr and returns its answer. An error of that node is a [RemoteError]; its kind
// is found with errors.Is. The question may have been answered there although the answer was lost: whether asking again
// is safe is for the question to say.
func Ask[In, Out any](ctx context.Context, c *Client, addr string, q Question[In, Out], in In) (out Out, err error) {
	if err := c.exchange(ctx, addr, string(q), in, &out); err != nil {
		return out, fmt.Errorf("ask %s for %s: %w", addr, q, err)
	}
	return out, nil
}

func (c *Client) exchange(ctx context.Context, addr, op string, in, out any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	question, err := json.Marshal(request{Op: op, Body: body})
	if err != nil {
		return err
	}
	s, err := c.transport.Open(ctx, addr, Service)
	if err != nil {
		return err
	}
	if err := s.Send(question); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	encoded, err := s.Recv()
	if err != nil {
		return err
	}
	return decode(encoded, out)
}

func decode(encoded []byte, out any) error {
	var a answer
	if err := json.Unmarshal(encoded, &a); err != nil {
		return fmt.Errorf("%w: answer: %w", contract.ErrMessage, err)
	}
	if a.Text != "" || a.Error != "" {
		return &RemoteError{kind: kindNamed(a.Error), text: a.Text}
	}
	if len(a.Body) == 0 {
		return nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("%w: answer: %w", contract.ErrMessage, err)
	}
	return nil
}
