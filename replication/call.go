package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/transport"
)

// callService carries single questions between nodes: one request, one answer, both JSON, so that neighbouring versions
// understand each other.
const callService = "call/1"

// callRequest is a question to a node.
type callRequest struct {
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

// callAnswer is its answer: a body, or an error by name with its text.
type callAnswer struct {
	Body  json.RawMessage `json:"body,omitempty"`
	Error string          `json:"error,omitempty"`
	Text  string          `json:"text,omitempty"`
}

// Questions that a node answers.
const (
	opReport   = "report"   // fleet.Report
	opPosition = "position" // a position that covers everything acknowledged before
	opAsk      = "ask"      // for Config.OnAsk
	opPublish  = "publish"  // a member describes itself to its leader
	opAck      = "ack"      // a node that serves a stream passes on an acknowledgement
	opStage    = "stage"    // fetch a checkpoint that is to be installed
	opBegin    = "begin"    // target of a switchover: begin the next epoch
	opRefuse   = "refuse"   // target of a switchover: promise never to begin it
	opMove     = "move"     // leader of the primary: switch over
	opFailover = "failover" // leader of a secondary: take over
	opMembers  = "members"  // change the region's membership
	opTails    = "tails"    // rescue files of this node
)

// remoteErrors are the errors that keep their identity on the way. The names are on the wire.
var remoteErrors = map[string]error{
	"not-leader":       ErrNotLeader,
	"not-ready":        ErrNotReady,
	"closed":           ErrClosed,
	"unknown-outcome":  ErrUnknownOutcome,
	"stopped":          ErrStopped,
	"unknown-region":   ErrUnknownRegion,
	"handoff":          ErrHandoff,
	"needs-force":      ErrNeedsForce,
	"diverged":         ErrDiverged,
	"already-begun":    errAlreadyBegun,
	"already-primary":  ErrAlreadyPrimary,
	"rejected":         ErrRejected,
	"under-replicated": ErrUnderReplicated,
	"member":           ErrMember,
	"learner-behind":   ErrLearnerBehind,
}

// call asks the node at addr and decodes its answer into out, unless that is nil.
func (n *node) call(ctx context.Context, addr, op string, in, out any) error {
	err := n.exchange(ctx, addr, op, in, out)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", addr, op, err)
	}
	return nil
}

func (n *node) exchange(ctx context.Context, addr, op string, in, out any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := json.Marshal(callRequest{Op: op, Body: body})
	if err != nil {
		return err
	}
	s, err := n.transport.Open(ctx, addr, callService)
	if err != nil {
		return err
	}
	if err := s.Send(request); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	encoded, err := s.Recv()
	if err != nil {
		return err
	}
	var answer callAnswer
	if err := json.Unmarshal(encoded, &answer); err != nil {
		return fmt.Errorf("%w: answer: %w", ErrMessage, err)
	}
	if answer.Text != "" {
		return &remoteError{kind: remoteErrors[answer.Error], text: answer.Text}
	}
	if out == nil || len(answer.Body) == 0 {
		return nil
	}
	return json.Unmarshal(answer.Body, out)
}

// remoteError is an error of another node. It is what it was there, as far as callers must tell it apart.
type remoteError struct {
	kind error
	text string
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// serveCall is the other end.
func (n *node) serveCall(ctx context.Context, s transport.Stream) error {
	encoded, err := s.Recv()
	if err != nil {
		return ignoreEnd(err)
	}
	var request callRequest
	if err := json.Unmarshal(encoded, &request); err != nil {
		return fmt.Errorf("%w: question: %w", ErrMessage, err)
	}
	body, err := n.answerCall(ctx, &request)
	var answer callAnswer
	if err != nil {
		answer.Text = err.Error()
		for name, kind := range remoteErrors {
			if errors.Is(err, kind) {
				answer.Error = name
			}
		}
	} else if answer.Body, err = json.Marshal(body); err != nil {
		return err
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return s.Send(out)
}

func (n *node) answerCall(ctx context.Context, r *callRequest) (any, error) {
	if err := n.err(); err != nil {
		return nil, err
	}
	switch r.Op {
	case opReport:
		return n.report(), nil
	case opPosition:
		return n.confirmedPosition(ctx)
	case opAsk:
		return withBody(r, func(in []byte) ([]byte, error) { return n.answerAsk(ctx, in) })
	case opPublish:
		return withBody(r, func(in publication) (any, error) { return nil, n.publishMember(ctx, in) })
	case opAck:
		return withBody(r, func(in acknowledgement) (any, error) { return nil, n.slots.acknowledge(in) })
	case opStage:
		return withBody(r, func(in stageRequest) (any, error) { return nil, n.stage(ctx, in) })
	case opBegin:
		return withBody(r, func(in handover) (*Reign, error) { return n.beginHandedOver(ctx, in) })
	case opRefuse:
		return withBody(r, func(in handover) (*Reign, error) { return n.refuseHandoff(ctx, in) })
	case opMove:
		return withBody(r, func(in moveRequest) (*MoveReport, error) { return n.switchOver(ctx, in.To) })
	case opFailover:
		return withBody(r, func(in moveRequest) (*MoveReport, error) { return n.failOver(ctx, in.Force) })
	case opMembers:
		return withBody(r, func(in memberChange) (any, error) { return nil, n.changeMembers(ctx, in) })
	case opTails:
		return n.localTails()
	default:
		return nil, fmt.Errorf("%w: unknown question %q", ErrRejected, r.Op)
	}
}

func withBody[In, Out any](r *callRequest, f func(In) (Out, error)) (any, error) {
	var in In
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMessage, r.Op, err)
	}
	return f(in)
}
