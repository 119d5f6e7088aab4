package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Nothing stands for a question without content, or an answer without one.
type Nothing = struct{}

// Registry is the questions that a node answers. It is filled while the node is built, and not changed afterwards.
type Registry struct {
	ready    func() error
	door     *Door
	handlers map[string]answerer
}

// answerer answers a question to those who have a right.
type answerer struct {
	right  Right
	answer func(ctx context.Context, body json.RawMessage) (any, error)
}

// NewRegistry returns a registry without questions. ready says why the node answers none now; nil: it does. The door
// says who may ask.
func NewRegistry(ready func() error, door *Door) *Registry {
	return &Registry{ready: ready, door: door, handlers: map[string]answerer{}}
}

// Rights returns the questions, with what it needs to ask them.
func (r *Registry) Rights() map[string]Right {
	rights := map[string]Right{}
	for q, a := range r.handlers {
		rights[q] = a.right
	}
	return rights
}

// Handle registers who answers a question, to those who have a right. Each question has one answerer: a second one
// panics, since it is a mistake in the wiring.
func Handle[In, Out any](
	r *Registry, q Question[In, Out], right Right, f func(ctx context.Context, in In) (Out, error),
) {
	if _, twice := r.handlers[string(q)]; twice {
		panic("peer: two answerers for question " + string(q))
	}
	r.handlers[string(q)] = answerer{right, func(ctx context.Context, body json.RawMessage) (any, error) {
		var in In
		if len(body) > 0 {
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", contract.ErrMessage, q, err)
			}
		}
		return f(ctx, in)
	}}
}

// CallerOf returns who asks; false if the transport does not know.
func CallerOf(ctx context.Context) (region, node string, known bool) {
	c, known := transport.CallerOf(ctx)
	return c.Region, c.Node, known
}

// MaySpeak returns ErrRejected if whoever asks is known, and is not of the region for which the question speaks.
func MaySpeak(ctx context.Context, region string) error {
	if err := transport.MaySpeak(ctx, region); err != nil {
		return fmt.Errorf("%w: %v", contract.ErrRejected, err)
	}
	return nil
}

// Serve is the transport's handler of Service.
func (r *Registry) Serve(ctx context.Context, s transport.Stream) error {
	encoded, err := s.Recv()
	if err != nil {
		return IgnoreEnd(err)
	}
	var q request
	if err := json.Unmarshal(encoded, &q); err != nil {
		return fmt.Errorf("%w: question: %w", contract.ErrMessage, err)
	}
	body, err := r.answer(ctx, &q)
	out, err := encode(body, err)
	if err != nil {
		return fmt.Errorf("answer %s: %w", q.Op, err)
	}
	return s.Send(out)
}

func (r *Registry) answer(ctx context.Context, q *request) (any, error) {
	if err := r.ready(); err != nil { // whoever asks has not ended, and may ask another node
		return nil, fmt.Errorf("%w: %v", contract.ErrNotReady, err)
	}
	a, known := r.handlers[q.Op]
	if !known {
		return nil, fmt.Errorf("%w: %s %q", contract.ErrRejected, unknownQuestion, q.Op)
	}
	if err := r.door.asks(ctx, a.right, q.Op); err != nil {
		return nil, err
	}
	return a.answer(ctx, q.Body)
}

// unknownQuestion is how a node, of whatever version, says that it does not know a question.
const unknownQuestion = "unknown question"

// Unknown reports whether an error of Ask says that the node does not know the question.
func Unknown(err error) bool {
	return errors.Is(err, contract.ErrRejected) && strings.Contains(err.Error(), unknownQuestion)
}

func encode(body any, failure error) ([]byte, error) {
	if failure != nil {
		return json.Marshal(answer{Error: nameOf(failure), Text: failure.Error()})
	}
	return json.Marshal(answer{Body: body})
}
