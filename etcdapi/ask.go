package etcdapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
)

// Questions that a node puts to the leader of the primary region, which alone counts down leases, and knows of all that
// was acknowledged. README.md has the bytes.
const (
	askVersion = 1

	askRenew      byte = 1
	askTimeToLive byte = 2
	askRoot       byte = 3

	// maxAskRenewals bounds the leases of one question.
	maxAskRenewals = 4096

	// leaseGone is the time to live in an answer about a lease that does not exist.
	leaseGone = -1
)

// ErrAsk says that a question or an answer between nodes is malformed or of an unknown version.
var ErrAsk = errors.New("etcdapi: malformed question")

// AnswerAsk answers a question of another node. It is meant for replication.Config.OnAsk. It fails if this node is not
// the leader of the primary region; the node that asks then tries again.
func (a *API) AnswerAsk(ctx context.Context, request []byte) ([]byte, error) {
	if len(request) < 2 || request[0] != askVersion {
		return nil, fmt.Errorf("%w: %d bytes", ErrAsk, len(request))
	}
	switch kind, body := request[1], request[2:]; kind {
	case askRenew:
		return a.answerRenew(body)
	case askTimeToLive:
		return a.answerTimeToLive(body)
	case askRoot:
		return answerRoot(ctx, a, body)
	default:
		return nil, fmt.Errorf("%w: kind %d", ErrAsk, kind)
	}
}

func encodeRenew(ids []int64) []byte {
	question := make([]byte, 2, 2+8*len(ids))
	question[0], question[1] = askVersion, askRenew
	for _, id := range ids {
		question = binary.LittleEndian.AppendUint64(question, uint64(id))
	}
	return question
}

func (a *API) answerRenew(body []byte) ([]byte, error) {
	ids, err := decodeInt64s(body)
	if err != nil {
		return nil, err
	}
	answer := make([]byte, 0, len(body))
	for _, id := range ids {
		ttl, err := a.lessor.Renew(id)
		switch {
		case errors.Is(err, command.ErrLeaseNotFound):
			ttl = leaseGone
		case err != nil:
			return nil, notLessor(err)
		}
		answer = binary.LittleEndian.AppendUint64(answer, uint64(ttl))
	}
	return answer, nil
}

// notLessor makes an error of a lessor that is not promoted one that has the question asked again.
func notLessor(err error) error {
	if errors.Is(err, lease.ErrNotLessor) {
		return fmt.Errorf("%w: %w", replication.ErrNotReady, err)
	}
	return err
}

func encodeTimeToLive(id int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{askVersion, askTimeToLive}, uint64(id))
}

func (a *API) answerTimeToLive(body []byte) ([]byte, error) {
	ids, err := decodeInt64s(body)
	if err != nil || len(ids) != 1 {
		return nil, fmt.Errorf("%w: time to live of %d bytes", ErrAsk, len(body))
	}
	remaining, granted, err := a.lessor.TimeToLive(ids[0])
	switch {
	case errors.Is(err, command.ErrLeaseNotFound):
		remaining, granted = leaseGone, 0
	case err != nil:
		return nil, notLessor(err)
	}
	answer := binary.LittleEndian.AppendUint64(nil, uint64(remaining))
	return binary.LittleEndian.AppendUint64(answer, uint64(granted)), nil
}

// decodeInt64s decodes a run of 64-bit numbers, little endian: ids in a question, seconds in an answer.
func decodeInt64s(p []byte) ([]int64, error) {
	if len(p)%8 != 0 || len(p) > 8*maxAskRenewals {
		return nil, fmt.Errorf("%w: %d bytes of numbers", ErrAsk, len(p))
	}
	numbers := make([]int64, 0, len(p)/8)
	for ; len(p) > 0; p = p[8:] {
		numbers = append(numbers, int64(binary.LittleEndian.Uint64(p)))
	}
	return numbers, nil
}
