package patrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/verify"
)

// inquiry is what one node asks another: one of its fields is set. It is on the wire: fields are added, and never
// change their meaning.
type inquiry struct {
	Stand  bool             `json:"stand,omitempty"` // where does it stand?
	Digest *verify.Question `json:"digest,omitempty"`
	Beside *verify.Wait     `json:"beside,omitempty"`
}

// reply answers an inquiry, by the field of its kind, or says why not.
type reply struct {
	Stand  *verify.Standing `json:"stand,omitempty"`
	Digest *verify.Answer   `json:"digest,omitempty"`
	Beside *verify.Beside   `json:"beside,omitempty"`
	Why    string           `json:"why,omitempty"` // "compacted", "elsewhere", or words
}

// The reasons that are told apart.
const (
	whyCompacted = "compacted"
	whyElsewhere = "elsewhere"
)

// ErrUnknown says that a node does not know the question: it is of a version of before.
var ErrUnknown = errors.New("it is of a version that cannot be asked")

// AnswererConfig is what an Answerer is made of. Every field is required.
type AnswererConfig struct {
	Store verify.Store
	// Stand returns where this node stands, or why it cannot be compared now.
	Stand func() (verify.Standing, error)
	// Beside sums what this node holds beside its keys.
	Beside func(ctx context.Context, w *verify.Wait) (*verify.Beside, error)
	// BytesPerSecond bounds what is read for answers, whoever asks.
	BytesPerSecond int64
	Clock          clock.Clock
}

// Answerer answers for this node what others ask. It is safe for concurrent use; one question is answered at a time.
type Answerer struct {
	AnswererConfig
	turn chan struct{}
	mu   sync.Mutex
	debt budget
}

// NewAnswerer returns one.
func NewAnswerer(c AnswererConfig) *Answerer {
	return &Answerer{AnswererConfig: c, turn: make(chan struct{}, 1), debt: budget{rate: c.BytesPerSecond}}
}

// answerTimeout bounds the work for one answer, and how long it waits for its turn.
const answerTimeout = 30 * time.Second

// Answer answers a question of another node. An error says that it is none.
func (a *Answerer) Answer(ctx context.Context, request []byte) ([]byte, error) {
	var q inquiry
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("question about equality: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := a.answer(ctx, &q)
	switch {
	case err == nil:
	case errors.Is(err, command.ErrCompacted):
		r = &reply{Why: whyCompacted}
	case errors.Is(err, kv.ErrNotHere):
		r = &reply{Why: whyElsewhere}
	default:
		r = &reply{Why: err.Error()}
	}
	return json.Marshal(r)
}

func (a *Answerer) answer(ctx context.Context, q *inquiry) (*reply, error) {
	if q.Stand {
		s, err := a.Stand()
		return &reply{Stand: &s}, err
	}
	if q.Digest == nil && q.Beside == nil {
		return nil, verify.ErrQuestion
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := a.wait(ctx); err != nil {
		return nil, err
	}
	if q.Beside != nil {
		b, err := a.Beside(ctx, q.Beside)
		return &reply{Beside: b}, err
	}
	answer, err := q.Digest.Answer(ctx, a.Store)
	if err != nil {
		return nil, err
	}
	s, err := a.Stand()
	answer.Node = s.Name
	var read int64
	for i := range answer.Parts {
		read += answer.Parts[i].Bytes
	}
	a.spend(read)
	return &reply{Digest: answer}, err
}

// wait waits until what was read before is paid.
func (a *Answerer) wait(ctx context.Context) error {
	a.mu.Lock()
	left := a.debt.left(a.Clock.Elapsed())
	a.mu.Unlock()
	return pause(ctx, a.Clock, left)
}

func (a *Answerer) spend(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.debt.spend(a.Clock.Elapsed(), bytes)
}

// pause waits, and returns why it did not to the end.
func pause(ctx context.Context, c clock.Clock, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Ask puts a question to one node, by its peer address. An error that is ErrUnknown says that it does not know it.
type Ask func(ctx context.Context, addr string, request []byte) ([]byte, error)

// put asks one node.
func (ask Ask) put(ctx context.Context, addr string, q inquiry) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	answer, err := ask(ctx, addr, request)
	if err != nil {
		return nil, err
	}
	r := new(reply)
	switch err := json.Unmarshal(answer, r); {
	case err != nil:
		return nil, fmt.Errorf("answer about equality: %w", err)
	case r.Why == whyCompacted:
		return nil, verify.ErrCompacted
	case r.Why == whyElsewhere:
		return nil, verify.ErrElsewhere
	case r.Why != "":
		return nil, errors.New(r.Why)
	}
	return r, nil
}

// node is a member as verify asks it.
func (ask Ask) node(m Member) verify.Node {
	return verify.Node{
		Name: m.Name,
		Ask: func(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
			r, err := ask.put(ctx, m.Addr, inquiry{Digest: q})
			if err == nil && r.Digest == nil {
				err = verify.ErrQuestion
			}
			if err != nil {
				return nil, err
			}
			return r.Digest, nil
		},
		Beside: func(ctx context.Context, w *verify.Wait) (*verify.Beside, error) {
			r, err := ask.put(ctx, m.Addr, inquiry{Beside: w})
			if err == nil && r.Beside == nil {
				err = verify.ErrQuestion
			}
			if err != nil {
				return nil, err
			}
			return r.Beside, nil
		},
	}
}

// stand asks a member where it stands.
func (ask Ask) stand(ctx context.Context, m Member) (s verify.Standing, err error) {
	r, err := ask.put(ctx, m.Addr, inquiry{Stand: true})
	switch {
	case err != nil:
		return s, err
	case r.Stand == nil:
		return s, verify.ErrQuestion
	case r.Stand.Name != m.Name:
		return s, fmt.Errorf("%s answers where it is said to be", r.Stand.Name)
	}
	return *r.Stand, nil
}
