package server

import (
	"context"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/server/operator"
)

// rootLink is the operator's right of who has the role root, while users and roles are enabled. api returns nil before
// the node has one.
type rootLink struct{ api func() *etcdapi.API }

// Used implements operator.Link.
func (l rootLink) Used() bool {
	api := l.api()
	return api != nil && api.RootAsked()
}

// Operator implements operator.Link. Its refusals are etcd's, since clients of etcd look at them.
func (l rootLink) Operator(ctx context.Context, c *operator.Caller) (who string, err error) {
	api := l.api()
	if api == nil {
		return "", operator.ErrUnused
	}
	shown := etcdapi.RootShown{Tokens: c.Tokens, Fresh: c.Fresh, Sure: c.Changes}
	if c.Certificate != nil && !c.Apart {
		shown.CommonName = c.Certificate.Subject.CommonName
	}
	user, enabled, err := api.Root(ctx, shown)
	switch {
	case !enabled || user == "" && err == nil: // they were not, when that was asked
		return "", operator.ErrUnused
	case user == "":
		return "", err
	}
	return "user " + user, err
}
