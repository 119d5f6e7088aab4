package server

import (
	"context"
	"errors"
	"fmt"

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
)

// expiry ends leases that nobody renewed.
type expiry struct {
	keys        kv.LeaseKeys
	propose     func(ctx context.Context, t replication.Tenure, command []byte) (result []byte, err error)
	bytes, part int64
}

// expire ends a lease, as it was decided here in the tenure t. It returns once that is applied. If it fails part of the
// keys may be gone; the rest go when it is called again, here or wherever the leases are kept then: by the first part
// the content says that the lease ends, and nobody keeps it alive.
func (e *expiry) expire(ctx context.Context, t replication.Tenure, id int64) error {
	cost, err := e.keys.Cost(id, e.bytes)
	if err == nil && cost > e.bytes {
		err = e.deleteKeys(ctx, t, id)
	}
	if err != nil {
		return fmt.Errorf("keys of lease %x: %w", id, err)
	}
	result, err := e.propose(ctx, t, command.EncodeLeaseExpiry(id))
	if err != nil {
		return err
	}
	if _, err = command.DecodeLeaseRevokeResult(result); errors.Is(err, command.ErrLeaseNotFound) {
		return nil // somebody revoked it
	}
	return err
}

// deleteKeys deletes what is attached to a lease, in commands that each node can do.
func (e *expiry) deleteKeys(ctx context.Context, t replication.Tenure, id int64) error {
	for after, more := []byte(nil), true; more; {
		var keys [][]byte
		var err error
		keys, more, err = e.keys.Some(id, after, e.part, command.ExpiryPartBytes)
		if err != nil || len(keys) == 0 {
			return err
		}
		result, err := e.propose(ctx, t, command.EncodeLeaseExpiryPart(id, keys))
		if err == nil {
			_, err = command.DecodeTxnResult(result)
		}
		if err != nil {
			return err
		}
		after = keys[len(keys)-1]
	}
	return nil
}
