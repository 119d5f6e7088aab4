package front

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/lease"
)

// quietTime is for how long a client asks for nothing before its stream to the fleet ends. Clients ask for all of their
// leases that are due at once, each some times a minute.
const quietTime = 50 * time.Millisecond

// burst is how many requests go on one stream to the fleet at most: so many answers are held for a client.
const burst = 1024

// mostAgain is how often a lease is kept alive anew because the answer came so late that nothing may be left of it.
const mostAgain = 3

// keepAlive has the fleet keep leases alive, all that are asked for at once: one after the other, each would wait for
// as many round trips as there are before it. While nothing is asked for, which may be for as long as the client likes,
// the stream has no place on the connection to the fleet, which all share.
func (f *Front) keepAlive(ss grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	requests, ended := make(chan *pb.LeaseKeepAliveRequest), make(chan error, 1)
	go func() {
		defer close(requests)
		ended <- receive(ctx, ss, requests)
	}()
	for first := range requests {
		some := []*pb.LeaseKeepAliveRequest{first}
		for n := 0; len(some) > 0; n++ {
			if n > mostAgain {
				return status.Errorf(codes.Unavailable, "mimir: answers of the fleet about lease %x come too late: "+
					"ask again", some[0].ID)
			}
			var err error
			if some, err = f.keepSome(ctx, ss, some, requests); err != nil {
				return err
			}
		}
	}
	return <-ended
}

// receive hands on what a client asks for, until it asks for no more.
func receive(ctx context.Context, ss grpc.ServerStream, requests chan<- *pb.LeaseKeepAliveRequest) error {
	for {
		r := new(pb.LeaseKeepAliveRequest)
		if err := ss.RecvMsg(r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case requests <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keepSome has the fleet keep leases alive, the first ones and more, until nothing more is asked for, or many were, and
// every request is answered, but for those to ask again: their answers came so late that nothing may be left. The fleet
// is done with them however slowly the client takes the answers.
func (f *Front) keepSome(ctx context.Context, ss grpc.ServerStream, first []*pb.LeaseKeepAliveRequest,
	more <-chan *pb.LeaseKeepAliveRequest) (again []*pb.LeaseKeepAliveRequest, err error) {
	ctx, cancel := context.WithCancel(asCaller(ctx))
	defer cancel()
	fleet, err := pb.NewLeaseClient(f.links.Now()).LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	answers, received, sent := make(chan *pb.LeaseKeepAliveResponse, burst), make(chan error, 1), make(chan error, 1)
	// asked is when each request was sent. Whichever request an answer is to, the fleet has not given it before it was
	// sent as many as it has answered by then: so not before the one was sent whose turn it is.
	asked, late := make(chan time.Duration, burst), make(chan struct{}) // asked has room for all
	go func() {
		defer close(answers)
		received <- answered(ctx, fleet, answers)
	}()
	go func() { sent <- f.sendSome(ctx, fleet, first, more, asked, late) }()
	var at time.Duration
	for answer := range answers {
		select {
		case at = <-asked:
		default: // the fleet answers more than it was asked
		}
		granted := answer.TTL
		answer.TTL = lease.Left(granted, f.clock.Elapsed()-at)
		switch {
		case err != nil:
		case granted > 0 && answer.TTL == 0:
			if again = append(again, &pb.LeaseKeepAliveRequest{ID: answer.ID}); len(again) == 1 {
				close(late)
			}
		default:
			err = ss.SendMsg(answer)
		}
		if err != nil {
			cancel()
		}
	}
	ended := <-received
	cancel()
	return again, cmp.Or(err, ended, <-sent)
}

// sendSome sends requests, and tells when each is asked, until there is none for a while, many were, or an answer came
// too late.
func (f *Front) sendSome(ctx context.Context, fleet pb.Lease_LeaseKeepAliveClient, first []*pb.LeaseKeepAliveRequest,
	more <-chan *pb.LeaseKeepAliveRequest, asked chan<- time.Duration, late <-chan struct{}) error {
	quiet := time.NewTimer(f.quiet)
	defer quiet.Stop()
	r, first := first[0], first[1:]
	for n := 1; ; n++ {
		asked <- f.clock.Elapsed()
		if err := fleet.Send(r); errors.Is(err, io.EOF) { // what is received says why, if there is more to say
			return status.Error(codes.Unavailable, "mimir: the fleet ended the stream of keep-alives")
		} else if err != nil {
			return err
		}
		if n == burst {
			return fleet.CloseSend()
		}
		if len(first) > 0 {
			r, first = first[0], first[1:]
			continue
		}
		quiet.Reset(f.quiet)
		var open bool
		select {
		case r, open = <-more:
			if !open {
				return fleet.CloseSend()
			}
		case <-quiet.C:
			return fleet.CloseSend()
		case <-late:
			return fleet.CloseSend()
		case <-ctx.Done():
			return status.Error(codes.Unavailable, "mimir: the fleet ended the stream of keep-alives")
		}
	}
}

// answered hands on the fleet's answers, until it has no more.
func answered(
	ctx context.Context, fleet pb.Lease_LeaseKeepAliveClient, answers chan<- *pb.LeaseKeepAliveResponse,
) error {
	for {
		r, err := fleet.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case answers <- r: // there is room, unless the fleet answers more than it was asked
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
