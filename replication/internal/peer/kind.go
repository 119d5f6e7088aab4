package peer

import (
	"context"
	"errors"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
)

// kinds are the errors that keep their identity on the way, the one that binds a caller most first: an error is of the
// first kind that it wraps. The names are on the wire: never change one.
var kinds = []struct {
	name string
	err  error
}{
	// It cannot be known what was done.
	{"unknown-outcome", contract.ErrUnknownOutcome},
	// Something was done.
	{"under-replicated", contract.ErrUnderReplicated},
	{"already-begun", contract.ErrAlreadyBegun},
	// Nothing was done, and trying again changes nothing.
	{"lagging", contract.ErrLagging},
	{"rejected", contract.ErrRejected},
	{"argument", contract.ErrArgument},
	{"too-large", contract.ErrTooLarge},
	{"needs-force", contract.ErrNeedsForce},
	{"already-primary", contract.ErrAlreadyPrimary},
	{"diverged", contract.ErrDiverged},
	{"unknown-region", contract.ErrUnknownRegion},
	{"learner-behind", contract.ErrLearnerBehind},
	{"unhealthy", contract.ErrUnhealthy},
	{"member", contract.ErrMember},
	{"identity", contract.ErrIdentity},
	{"handoff", contract.ErrHandoff},
	{"delayed", contract.ErrDelayed},
	{"message", contract.ErrMessage},
	// The node is not there for it any more.
	{"stopped", contract.ErrStopped},
	{"closed", contract.ErrClosed},
	// Of another node: of this one it is the cause of an end.
	{"removed", contract.ErrRemoved},
	// Nothing was done, and another node, or the same one later, may do it.
	{"not-leader", contract.ErrNotLeader},
	{"not-ready", contract.ErrNotReady},
}

// Kind returns the one error of package contract that err is to its callers; nil if it is none of those that must be
// told apart.
func Kind(err error) error {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.err
		}
	}
	return nil
}

// Elsewhere reports whether a question came to the wrong node, or to none, so that nothing was done and another node
// may do it. An error without a kind is of a connection that was not made, or that broke: then it may have come to the
// right one, and whether to ask again is for the question to say.
func Elsewhere(err error) bool {
	switch Kind(err) {
	case contract.ErrNotLeader, contract.ErrNotReady:
		return true
	case nil:
		return errors.Is(err, transport.ErrUnreachable)
	default:
		return false
	}
}

func nameOf(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return ""
}

func kindNamed(name string) error {
	for _, k := range kinds {
		if k.name == name {
			return k.err
		}
	}
	return nil
}

// RemoteError is an error of another node. It is there what it was here, as far as callers must tell it apart.
type RemoteError struct {
	kind error
	text string
}

func (e *RemoteError) Error() string { return e.text }

// Unwrap returns the kind of the error, nil if it is none.
func (e *RemoteError) Unwrap() error { return e.kind }

// IgnoreEnd turns the end of a stream by its context into no error.
func IgnoreEnd(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
