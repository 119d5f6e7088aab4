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

// A lease is kept alive anew after againPause where the answer came so late that nothing may be left of it, for no
// longer than lateTime since the first such answer.
const againPause, lateTime = 100 * time.Millisecond, 10 * time.Second

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
	late := lateAnswers{}
	for first := range requests {
		some := []*pb.LeaseKeepAliveRequest{first}
		for len(some) > 0 {
			var err error
			if some, err = f.keepSome(ctx, ss, some, requests, late); err == nil && len(some) > 0 {
				err = f.pause(ctx, late)
			}
			if err != nil {
				return err
			}
		}
	}
	return <-ended
}

// lateAnswers are the leases of which nothing may be left by the last answer, each with since when.
type lateAnswers map[int64]time.Time

// pause returns when leases are to be kept alive anew, unless answers about one come too late for too long.
func (f *Front) pause(ctx context.Context, late lateAnswers) error {
	now := f.clock.Now()
	for id, since := range late {
		if now.Sub(since) >= lateTime {
			return status.Errorf(codes.Unavailable, "mimir: answers of the fleet about lease %x come too late, and "+
				"have for %v: ask again", id, lateTime)
		}
	}
	timer := f.clock.NewTimer(againPause)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
	more <-chan *pb.LeaseKeepAliveRequest, late lateAnswers) (again []*pb.LeaseKeepAliveRequest, err error) {
	ctx, cancel := context.WithCancel(asCaller(ctx))
	defer cancel()
	fleet, err := pb.NewLeaseClient(f.links.Now()).LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	answers, received, sent := make(chan *pb.LeaseKeepAliveResponse, burst), make(chan error, 1), make(chan error, 1)
	// asked is when each request was sent. Whichever request an answer is to, the fleet has not given it before it was
	// sent as many as it has answered by then: so not before the one was sent whose turn it is.
	asked, hurry := make(chan time.Duration, burst), make(chan struct{}) // asked has room for all
	go func() {
		defer close(answers)
		received <- answered(ctx, fleet, answers)
	}()
	go func() { sent <- f.sendSome(ctx, fleet, first, more, asked, hurry) }()
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
				close(hurry)
			}
			if _, known := late[answer.ID]; !known {
				late[answer.ID] = f.clock.Now()
			}
		default:
			delete(late, answer.ID)
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
	more <-chan *pb.LeaseKeepAliveRequest, asked chan<- time.Duration, hurry <-chan struct{}) error {
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
		case <-hurry:
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

// renewNow has the fleet keep a lease alive once, and returns what is left of it: 0 if that cannot be said.
func (f *Front) renewNow(ctx context.Context, id int64) int64 {
	ctx, cancel := context.WithTimeout(asCaller(ctx), placeTime)
	defer cancel()
	asked := f.clock.Elapsed()
	fleet, err := pb.NewLeaseClient(f.links.Now()).LeaseKeepAlive(ctx)
	if err == nil {
		err = fleet.Send(&pb.LeaseKeepAliveRequest{ID: id})
	}
	if err != nil {
		return 0
	}
	answer, err := fleet.Recv()
	if err != nil {
		return 0
	}
	return max(0, lease.Left(answer.TTL, f.clock.Elapsed()-asked))
}
