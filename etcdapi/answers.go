package etcdapi

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answers bounds the memory of large answers that are being made: of all together. An answer of less than a megabyte is
// not counted. What is made already is gRPC's, until the client has read it.
type answers struct {
	limit int64
	bytes atomic.Int64
}

// answer is one that is being made. It is used by one goroutine.
type answer struct {
	of    *answers
	bytes int64
}

func (a *answers) open() *answer { return &answer{of: a} }

// take takes memory for a part of the answer, or refuses it.
func (a *answer) take(bytes int64) error {
	all := a.of.bytes.Add(bytes)
	a.bytes += bytes
	if all <= a.of.limit {
		return nil
	}
	return status.Error(codes.ResourceExhausted, fmt.Sprintf("mimir: the answers under way take more than "+
		"max-answer-bytes, which is %d: ask for less with a limit, or try again later", a.of.limit))
}

func (a *answer) close() { a.of.bytes.Add(-a.bytes) }
