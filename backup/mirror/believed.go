package mirror

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// believed is a connection to the fleet on which no answer counts that is from before what the etcd has. Whatever is
// behind it may be another node by now: behind a balancer, or after a login.
type believed struct {
	grpc.ClientConnInterface
	s *session
}

// Invoke implements grpc.ClientConnInterface.
func (b believed) Invoke(ctx context.Context, method string, in, out any, o ...grpc.CallOption) error {
	err := b.ClientConnInterface.Invoke(ctx, method, in, out, o...)
	answer, is := out.(interface{ GetHeader() *pb.ResponseHeader })
	if err != nil || !is {
		return err
	}
	return b.s.believe(answer.GetHeader().GetRevision())
}

// believe returns an error if an answer of the fleet is from before what the etcd has: once it is known that what it
// has is of this fleet.
func (s *session) believe(revision int64) error {
	if s.claimed && revision < s.reached() {
		return s.behind(revision)
	}
	return nil
}

// reached is up to which revision of the fleet the etcd has, or may have, something.
func (s *session) reached() int64 { return max(s.revision, s.at.Revision) }

// behind is the error of an endpoint of the fleet that is not where the etcd has come to.
func (s *session) behind(revision int64) error {
	return fmt.Errorf("this endpoint of the fleet is at revision %d, and the etcd has what was at %d: it may be of a "+
		"region that is cut off, and the next one is tried; if the fleet was restored with an older revision, delete "+
		"key %q of the etcd and run again with --overwrite", revision, s.reached(), s.at.key)
}
