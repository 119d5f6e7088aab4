package replay

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Errors of a Fleet that are an answer.
var (
	ErrCompacted = command.ErrCompacted
	// ErrTooLarge says that a transaction is more than the fleet takes.
	ErrTooLarge = errors.New("more than a transaction may have")
	// ErrNoLease says that a lease is not there, ErrLeaseExists that it is.
	ErrNoLease     = command.ErrLeaseNotFound
	ErrLeaseExists = command.ErrLeaseExists
)

// Fleet is the history of today. Everything is read as of all that was acknowledged. It is used by one goroutine.
type Fleet interface {
	// Keys returns what keys are now, and, if at is not 0, what they were at that revision: nil where there is none.
	Keys(ctx context.Context, keys []string, at int64) (now, then []*mvccpb.KeyValue, err error)
	// Span calls visit with each key of a span, in order, as they are at one revision: at, or if that is 0 now. It
	// returns the revision that they were read at.
	Span(ctx context.Context, sp command.Span, at int64, visit func(*mvccpb.KeyValue)) (revision int64, err error)
	// Txn does a transaction. Errors: ErrTooLarge, ErrNoLease; any other may have been done or not.
	Txn(ctx context.Context, q *pb.TxnRequest) (*pb.TxnResponse, error)
	// Lease returns the keys that hang on a lease. Error: ErrNoLease.
	Lease(ctx context.Context, id int64) (keys []string, err error)
	// Grant grants a lease. It does not run out as long as the replay lasts. Error: ErrLeaseExists.
	Grant(ctx context.Context, id, ttl int64) error
	Revoke(ctx context.Context, id int64) error
}

// Fork is where the tail parted from the history of today.
type Fork struct {
	Revision int64 // of the store there; 0 if it is not known
	// Base is above every revision up to the fork, and at most every one of today's after it.
	Base     int64
	Readable int64 // the lowest revision that could be read for certain at the fork
	Jumps    []Jump
	// MissingIsNew says that a key which is not there today was not there at the fork either, where the contents at the
	// fork cannot be read any more.
	MissingIsNew bool
}

// Jump is where the revisions of the tail jumped.
type Jump struct {
	First uint64 // position before which they did
	mvcc.Jump
}

// Command is one of the tail.
type Command struct {
	Position uint64 `json:"position,omitempty"`
	Revision int64  `json:"revision,omitempty,string"` // of Events
	Op       string `json:"op"`
	// Request is what was asked for; nil where only what came of it is known, which is Events then, of one revision.
	Request proto.Message   `json:"-"`
	Events  []*mvccpb.Event `json:"-"`
	// User is in whose name it was asked for. Refused says that it was not done because of that, Doubt that it is not
	// known whether it was.
	User    string `json:"user,omitempty"`
	Refused string `json:"refused,omitempty"`
	Doubt   string `json:"doubt,omitempty"`
}

// Operations that are not what a request of a client asks for.
const (
	OpExpiry     = "lease-expiry"
	OpExpiryPart = "lease-expiry-part" // a transaction that deletes some of the keys of a lease
	OpChanges    = "changes"           // events
)

// Tail reads the commands that were lost, in order, as often as it is called.
type Tail func(ctx context.Context, visit func(*Command) error) error
