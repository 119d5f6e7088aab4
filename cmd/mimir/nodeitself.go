package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// errInItsPlace says, behind the name of a node, that it answers for another one: there may be one address for several.
var errInItsPlace = errors.New("answers where it says that it serves clients")

// atNode returns a client of a node itself, once that has said who it is, with connections of its own: what follows is
// asked of who said so. The caller closes it.
func atNode(ctx context.Context, client *admin.Client, n *replication.NodeStatus) (*admin.Client, error) {
	if len(n.ClientURLs) == 0 {
		return nil, errors.New("it is not known where it serves clients")
	}
	at := admin.Apart(client.At(n.ClientURLs...))
	said, err := at.Node(ctx)
	if err == nil {
		err = itself(said, n.Name)
	}
	if err != nil {
		at.Close()
		return nil, err
	}
	return at, nil
}

// itself returns an error if it was another node than the one of a name that told of itself.
func itself(said *admin.Node, name string) error {
	if said.HealthStatus == nil {
		return nil
	}
	return inPlaceOf(name, said.NodeID)
}

// inPlaceOf returns an error if a node of another name answered. A name that is not known is nobody else's.
func inPlaceOf(name, answered string) error {
	if name == "" || answered == "" || answered == name {
		return nil
	}
	return fmt.Errorf("%s %w", answered, errInItsPlace)
}
