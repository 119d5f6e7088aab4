package live

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// users is whether authentication is on, and the revision of users and roles.
type users struct {
	enabled  bool
	revision uint64
}

func (u users) String() string {
	if u.enabled {
		return fmt.Sprintf("enabled, at revision %d", u.revision)
	}
	return fmt.Sprintf("not enabled, at revision %d", u.revision)
}

func usersOf(ctx context.Context, s sides.Side) (users, error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	r, err := pb.NewAuthClient(s.Conn).AuthStatus(ctx, &pb.AuthStatusRequest{})
	if err != nil {
		return users{}, fmt.Errorf("users of %s: %w", s.Name, err)
	}
	return users{r.Enabled, r.AuthRevision}, nil
}

// sameUsers returns ErrUsers if those of an etcd are not those of the fleet.
func sameUsers(etcd, fleet users) error {
	if etcd == fleet {
		return nil
	}
	return fmt.Errorf("%w: in the etcd authentication is %v, in the fleet %v; do not change users and roles while the "+
		"fleet follows; %s", ErrUsers, etcd, fleet, importAnew)
}
