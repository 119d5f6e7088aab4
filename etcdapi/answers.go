package etcdapi

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answers bounds the memory of large answers, of all together: those that are being made, of which what is less than a
// megabyte is not counted, and those that wait in gRPC until their clients read them, from countedBytes on.
type answers struct {
	limit int64
	bytes atomic.Int64
}

// answer is one that is being made. It is used by one goroutine.
type answer struct {
	of    *answers
	bytes int64
}

// open begins an answer, unless those that wait leave no room for any.
func (a *answers) open() (*answer, error) {
	one := &answer{of: a}
	return one, one.take(0)
}

// take takes memory for a part of the answer, or refuses it.
func (a *answer) take(bytes int64) error {
	all := a.of.bytes.Add(bytes)
	a.bytes += bytes
	if all <= a.of.limit {
		return nil
	}
	return status.Error(codes.ResourceExhausted, fmt.Sprintf("mimir: the answers under way, and those "+
		"that their clients do not read, take more than max-answer-bytes, which is %d: ask for less with a limit, or "+
		"try again later", a.of.limit))
}

func (a *answer) close() { a.of.bytes.Add(-a.bytes) }
