package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/localfleet"
)

// Sizes beyond a node's defaults: the request that it takes, and the message that it reads at all.
const (
	tooLargeBytes   = 7 << 18
	farTooLarge     = 40 << 20
	tooManyOps      = 129
	clientSendBytes = 64 << 20
)

// badRequest is what the API refuses, with the code it has to answer.
type badRequest struct {
	what string
	code codes.Code
	want error // nil: any error with the code
	do   func(context.Context, *clientv3.Client) error
}

func badRequests() []badRequest {
	operations := make([]clientv3.Op, tooManyOps)
	for i := range operations {
		operations[i] = clientv3.OpPut(fmt.Sprintf("/bad/%d", i), "")
	}
	return []badRequest{
		{"a value that is too large", codes.InvalidArgument, rpctypes.ErrRequestTooLarge,
			func(ctx context.Context, c *clientv3.Client) error {
				_, err := c.Put(ctx, "/bad/large", strings.Repeat("x", tooLargeBytes))
				return err
			}},
		{"a message that is far too large", codes.ResourceExhausted, nil,
			func(ctx context.Context, c *clientv3.Client) error {
				_, err := c.Put(ctx, "/bad/larger", strings.Repeat("x", farTooLarge))
				return err
			}},
		{"a transaction with too many operations", codes.InvalidArgument, rpctypes.ErrTooManyOps,
			func(ctx context.Context, c *clientv3.Client) error {
				_, err := c.Txn(ctx).Then(operations...).Commit()
				return err
			}},
		{"an empty key", codes.InvalidArgument, rpctypes.ErrEmptyKey,
			func(ctx context.Context, c *clientv3.Client) error {
				_, err := c.Put(ctx, "", "x")
				return err
			}},
		{"a revision of the future", codes.OutOfRange, rpctypes.ErrFutureRev,
			func(ctx context.Context, c *clientv3.Client) error {
				_, err := c.Compact(ctx, 1<<60)
				return err
			}},
		{"an unknown lease", codes.NotFound, rpctypes.ErrLeaseNotFound,
			func(ctx context.Context, c *clientv3.Client) error {
				_, err := c.Put(ctx, "/bad/lease", "x", clientv3.WithLease(4711))
				return err
			}},
	}
}

// badRequests sends them to every node, and checks the code. The last request must still be served.
func (r misuse) badRequests(ctx context.Context) error {
	for _, request := range badRequests() {
		answer := ""
		for _, n := range r.fleet.Nodes() {
			err := r.request(ctx, n, request.do)
			code := codeOf(err)
			if err == nil || code != request.code || request.want != nil && !errors.Is(err, request.want) {
				return fmt.Errorf("%s at %s: wanted %s (%v), got %s: %v", request.what, n.Config.Name, request.code,
					request.want, code, err)
			}
			answer = err.Error()
		}
		r.line("%s, at every node: %s, %s", request.what, request.code, answer)
	}
	for _, n := range r.fleet.Nodes() {
		err := r.request(ctx, n, func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Put(ctx, "/bad/good", "x")
			return err
		})
		if err != nil {
			return fmt.Errorf("a good request after the bad ones at %s: %w", n.Config.Name, err)
		}
	}
	return nil
}

// request does one call through a client of one node, which would send messages of any size.
func (r misuse) request(
	ctx context.Context, n *localfleet.Node, do func(context.Context, *clientv3.Client) error,
) error {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{n.Config.ListenClient}, MaxCallSendMsgSize: clientSendBytes, Logger: zap.NewNop(),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return do(ctx, client)
}

func codeOf(err error) codes.Code {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code()
	}
	return status.Code(err)
}
