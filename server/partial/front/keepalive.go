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
)

// quietTime is for how long a client asks for nothing before its stream to the fleet ends. Clients ask for all of their
// leases that are due at once, each some times a minute.
const quietTime = 50 * time.Millisecond

// burst is how many requests go on one stream to the fleet at most: so many answers are held for a client.
const burst = 1024

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
		if err := f.keepSome(ctx, ss, first, requests); err != nil {
			return err
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

// keepSome has the fleet keep leases alive until nothing more is asked for, or many were, and every request is
// answered. The fleet is done with them however slowly the client takes the answers.
func (f *Front) keepSome(ctx context.Context, ss grpc.ServerStream, first *pb.LeaseKeepAliveRequest,
	more <-chan *pb.LeaseKeepAliveRequest) error {
	ctx, cancel := context.WithCancel(asCaller(ctx))
	defer cancel()
	fleet, err := pb.NewLeaseClient(f.links.Now()).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	answers, received, sent := make(chan *pb.LeaseKeepAliveResponse, burst), make(chan error, 1), make(chan error, 1)
	go func() {
		defer close(answers)
		received <- answered(ctx, fleet, answers)
	}()
	go func() { sent <- f.sendSome(ctx, fleet, first, more) }()
	for answer := range answers {
		if err == nil {
			err = ss.SendMsg(answer)
		}
		if err != nil {
			cancel()
		}
	}
	ended := <-received
	cancel()
	return cmp.Or(err, ended, <-sent)
}

// sendSome sends requests until there is none for a while, or many were.
func (f *Front) sendSome(ctx context.Context, fleet pb.Lease_LeaseKeepAliveClient, r *pb.LeaseKeepAliveRequest,
	more <-chan *pb.LeaseKeepAliveRequest) error {
	quiet := time.NewTimer(f.quiet)
	defer quiet.Stop()
	for n := 1; ; n++ {
		if err := fleet.Send(r); errors.Is(err, io.EOF) { // what is received says why, if there is more to say
			return status.Error(codes.Unavailable, "mimir: the fleet ended the stream of keep-alives")
		} else if err != nil {
			return err
		}
		if n == burst {
			return fleet.CloseSend()
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
