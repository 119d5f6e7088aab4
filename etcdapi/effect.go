package etcdapi

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const effectAdvice = "mimir: the request would change or answer more at once than a node can; do it in pieces, each " +
	"with a narrower range"

// checkEffect refuses a request that would take more than the limit on every node. The count is one of this node, which
// may be behind: what slips through by that is little, and what no node can do is refused where it is applied.
func (a *API) checkEffect(bytes int64, err error) error {
	if err != nil {
		return err
	}
	if bytes > a.limits.EffectBytes {
		return status.Error(codes.InvalidArgument, fmt.Sprintf("%s (max-effect-bytes is %d)", effectAdvice,
			a.limits.EffectBytes))
	}
	return nil
}
