package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

const (
	// expiryBytes is what nodes may need for the keys of a lease that ends with all of them at one revision. A lease
	// with more loses its keys before, part by part.
	expiryBytes = 64 << 20
	// expiryPartBytes is about how large the command of a part is.
	expiryPartBytes = 512 << 10
	// expiryFrameBytes is what is in the command of a part beside its keys, at most.
	expiryFrameBytes = 16
)

// askTime bounds the question whether every node knows what a part is.
const askTime = 2 * time.Second

// expiry ends leases that nobody renewed.
type expiry struct {
	keys        kv.LeaseKeys
	propose     func(ctx context.Context, t replication.Tenure, command []byte) (result []byte, err error)
	understood  func(ctx context.Context, command []byte) error // whether every node of the fleet can apply it
	bytes, part int64
	longest     int64 // more than that no key may take of a part: the log takes none that is larger
}

func newExpiry(s *server) expiry {
	most := cmp.Or(s.config.Replication.MaxCommandBytes, replication.DefaultMaxCommandBytes)
	return expiry{
		keys: kv.LeaseKeys{Store: s.store}, propose: s.propose, bytes: expiryBytes,
		part: min(expiryPartBytes, int64(most)/2), longest: int64(most) - expiryFrameBytes,
		understood: func(ctx context.Context, c []byte) error { return s.replicator.Understood(ctx, c) },
	}
}

// expire ends a lease, as it was decided here in the tenure t, for as long as ctx says that it is still that one. It
// returns once that is applied. If it fails part of the keys may be gone; the rest go when it is called again, here or
// wherever the leases are kept then: by the first part the content says that the lease ends, and nobody keeps it alive.
// Where some node is too old to know that, or may be, the content says nothing, and who keeps leases next gives what is
// left its full time.
func (e *expiry) expire(ctx context.Context, t replication.Tenure, id int64) error {
	step, begins := command.Alone, command.Begins
	if e.keys.Ending(id) { // what is left of an end is for no lease that is granted meanwhile
		step, begins = command.GoesOn, command.GoesOn
	}
	cost, err := e.keys.Cost(id, e.bytes)
	if err != nil {
		return fmt.Errorf("keys of lease %x: %w", id, err)
	}
	if cost > e.bytes {
		step, err = e.deleteKeys(ctx, t, id, begins)
	}
	var result []byte
	if err == nil {
		result, err = e.write(ctx, t, command.EncodeLeaseExpiry(id, step))
	}
	if err == nil {
		_, err = command.DecodeLeaseRevokeResult(result)
	}
	if errors.Is(err, command.ErrLeaseNotFound) {
		return nil // somebody revoked it
	}
	return err
}

// write proposes a command of the end of a lease, if that is still meant.
func (e *expiry) write(ctx context.Context, t replication.Tenure, c []byte) (result []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return e.propose(ctx, t, c)
}

// deleteKeys deletes what is attached to a lease, in commands that each node can do, of which begins is the step of the
// first, and returns the step that is next. A key that is too long for any part, which has it twice, is left to go with
// the lease.
func (e *expiry) deleteKeys(
	ctx context.Context, t replication.Tenure, id int64, begins command.Step,
) (next command.Step, err error) {
	next = begins
	for after, more := []byte(nil), true; more; {
		var keys [][]byte
		keys, more, err = e.keys.Some(id, after, e.part, e.longest, command.ExpiryPartBytes)
		if err != nil {
			return next, fmt.Errorf("keys of lease %x: %w", id, err)
		}
		if len(keys) == 0 {
			break
		}
		c := command.EncodeLeaseExpiryPart(id, keys, next)
		if next == command.Begins && e.ask(ctx, c) != nil {
			next = command.Alone
			c = command.EncodeLeaseExpiryPart(id, keys, next)
		}
		result, err := e.write(ctx, t, c)
		if err == nil {
			_, err = command.DecodeTxnResult(result)
		}
		if err != nil {
			return next, fmt.Errorf("part of the keys of lease %x: %w", id, err)
		}
		if next == command.Begins {
			next = command.GoesOn
		}
		after = keys[len(keys)-1]
	}
	if next == command.Begins { // no part was written
		next = command.Alone
	}
	return next, nil
}

// ask returns nil if every node of the fleet says that it can apply a command.
func (e *expiry) ask(ctx context.Context, c []byte) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return e.understood(ctx, c)
}
