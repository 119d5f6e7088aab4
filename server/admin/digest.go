package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/mimir-kv/mimir/server/verify"
)

const (
	maxDigestBody = 8 << 20         // bytes of a question about ranges
	digestTimeout = 2 * time.Minute // for an answer
)

// digest sums what this node's store holds of ranges of keys.
func (h *handler) digest(w http.ResponseWriter, r *http.Request) {
	var q verify.Question
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDigestBody))
	body.DisallowUnknownFields()
	if err := body.Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, "body: "+err.Error())
		return
	}
	h.summing(w, r, func(ctx context.Context) (any, error) {
		a, err := q.Answer(ctx, h.States)
		if err == nil {
			a.Node = h.Replicator.Health().NodeID
		}
		return a, err
	})
}

// summing answers with what do returns: one question about what the node holds at a time.
func (h *handler) summing(w http.ResponseWriter, r *http.Request, do func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), digestTimeout)
	defer cancel()
	if err := h.digests.Acquire(ctx, 1); err != nil {
		refuse(w, http.StatusServiceUnavailable, "another question about what the node holds is not answered yet")
		return
	}
	answerOf(w, h.digests, func() (any, error) { return do(ctx) })
}

// Sums asks what nodes hold, and has one mend what it holds. It is safe for concurrent use.
type Sums struct{ client *Client }

// Sums returns what asks for what nodes hold.
func (c *Client) Sums() Sums { return Sums{c} }

// Digest has the first endpoint that answers sum what it holds. Name the endpoints of one node: what others hold is
// another answer. Errors are also verify.ErrCompacted and verify.ErrElsewhere.
func (s Sums) Digest(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	a := &verify.Answer{}
	err = s.client.each(ctx, func(endpoint string) error {
		ctx, cancel := context.WithTimeout(ctx, digestTimeout)
		defer cancel()
		return s.client.ask(ctx, http.MethodPost, endpoint, "/mimir/v1/digest", body, a)
	})
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusGone {
		return nil, verify.ErrCompacted
	} else if errors.As(err, &refused) && refused.Status == http.StatusPreconditionFailed {
		return nil, verify.ErrElsewhere
	}
	return a, err
}

// beside tells what this node's store holds beside its keys.
func (h *handler) beside(w http.ResponseWriter, r *http.Request) {
	var q verify.Wait
	if decode(w, r, &q) {
		h.summing(w, r, func(ctx context.Context) (any, error) { return h.Beside(ctx, &q) })
	}
}

// Beside has the first endpoint that answers sum what it holds beside its keys. Name the endpoints of one node.
func (s Sums) Beside(ctx context.Context, q *verify.Wait) (*verify.Beside, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	b := &verify.Beside{}
	return b, s.client.each(ctx, func(endpoint string) error {
		ctx, cancel := context.WithTimeout(ctx, digestTimeout)
		defer cancel()
		return s.client.ask(ctx, http.MethodPost, endpoint, "/mimir/v1/digest/beside", body, b)
	})
}
