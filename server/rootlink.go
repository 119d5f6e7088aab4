package server

import (
	"context"
	"errors"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/server/operator"
)

// rootLink is the operator's right of who has the role root, while users and roles are enabled. api returns nil before
// the node has one.
type rootLink struct{ api func() *etcdapi.API }

// Operator implements operator.Link. Its refusals are etcd's, since clients of etcd look at them.
func (l rootLink) Operator(ctx context.Context, c *operator.Caller) (who string, err error) {
	api := l.api()
	if api == nil {
		return "", operator.ErrUnused
	}
	name := ""
	if c.Certificate != nil {
		name = c.Certificate.Subject.CommonName
	}
	tokens := c.Tokens
	if len(tokens) == 0 {
		tokens = []string{""}
	}
	var refused error
	for _, token := range tokens {
		user, enabled, err := api.Root(ctx, token, name)
		switch {
		case !enabled:
			return "", operator.ErrUnused
		case err == nil:
			return "user " + user, nil
		}
		refused = errors.Join(refused, err)
	}
	return "", refused
}
