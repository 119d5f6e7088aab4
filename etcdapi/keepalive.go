package etcdapi

import (
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
)

// keepAliveWindow bounds the renewals of one stream that are under way. Clients send those of all their leases on one
// stream, and the leader who answers may be an ocean away: they are not answered one after the other.
const keepAliveWindow = 1024

// keepAliveStream is one client's stream of renewals.
type keepAliveStream struct {
	*API
	stream  grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]
	permits chan struct{}
	began   time.Time
	answers *renewed
}

// LeaseKeepAlive extends leases. Nothing is written: the leader of the primary region counts down, and every leader
// starts from the full time to live (invariant 12).
func (s *leaseServer) LeaseKeepAlive(
	stream grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse],
) error {
	ctx, began := stream.Context(), s.clock.Now()
	first, err := firstAsked(ctx, stream) // before there is room for answers: whoever asks for none has none
	if errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return s.statusOf(ctx, err)
	}
	k := &keepAliveStream{
		API:     s.API,
		stream:  stream,
		began:   began,
		permits: make(chan struct{}, keepAliveWindow),
		answers: newRenewed(),
	}
	ended := make(chan error, 1)
	go func() { ended <- k.receive(ctx, first) }()
	for {
		select {
		case <-k.answers.come:
			if err := k.tell(ctx); err != nil {
				return s.statusOf(ctx, err)
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return s.statusOf(ctx, err)
		case <-ctx.Done():
			return s.statusOf(ctx, ctx.Err())
		}
	}
}

// tell sends the answers that came, with what is left by now, but for those that may be taken back, and those that came
// so late that nothing may be left: these are asked for again.
func (k *keepAliveStream) tell(ctx context.Context) error {
	for _, answer := range k.answers.take() {
		if k.unsure(&answer) {
			go k.settle(ctx, answer)
			continue
		}
		granted := answer.response.TTL
		answer.response.TTL = lease.Left(granted, k.clock.Elapsed()-answer.asked)
		if answer.err == nil && granted > 0 && answer.response.TTL == 0 {
			go k.doubt(ctx, answer, "answers about lease %x come too late, and have for %v")
			continue
		}
		if err := k.send(answer); err != nil {
			return err
		}
		<-k.permits
	}
	return nil
}

// firstAsked returns the first request, unless ctx ends before that, which may be sooner than the stream does.
func firstAsked(
	ctx context.Context, stream grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse],
) (*pb.LeaseKeepAliveRequest, error) {
	type request struct {
		*pb.LeaseKeepAliveRequest
		err error
	}
	came := make(chan request, 1)
	go func() {
		r, err := stream.Recv()
		came <- request{r, err}
	}()
	select {
	case first := <-came:
		return first.LeaseKeepAliveRequest, first.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// receive hands requests on, the first and those that come. When the client has closed its side, it waits until all are
// answered, and returns io.EOF.
func (k *keepAliveStream) receive(ctx context.Context, r *pb.LeaseKeepAliveRequest) (err error) {
	for ; ; r, err = k.stream.Recv() {
		if errors.Is(err, io.EOF) {
			err = k.acquire(ctx, keepAliveWindow)
			if err == nil {
				err = io.EOF
			}
		} else if err == nil {
			err = k.acquire(ctx, 1)
		}
		if err != nil {
			return err
		}
		// The header is taken before: a client must not see a lease alive at a revision at which it was revoked
		// already.
		header := k.header(k.store.Revision())
		before := k.store.Auth().Revision()
		if _, err := k.permittedSince(ctx, k.began, k.mayRenew(ctx, r.ID)); err != nil {
			return err
		}
		if err := k.since(before); err != nil {
			return err
		}
		k.renewals.renew(renewal{response: &pb.LeaseKeepAliveResponse{Header: header, ID: r.ID}}, k.answers)
	}
}

// unsure reports whether an answer may be taken back: the leader knows of leases when they are applied, and not when
// that is acknowledged. A lease whose grant is known to stay can be told alive; that one is gone is asked about each
// time.
func (k *keepAliveStream) unsure(answer *renewal) bool {
	if answer.err != nil || answer.sure {
		return false
	}
	note := kv.LeaseNotes{Store: k.store}.Of(answer.response.ID)
	return answer.response.TTL == 0 || note == nil || !note.Load()
}

// settle gives an answer again once it is as safe as what was acknowledged. It has the permit of the answer yet. About
// a lease that is said to be gone, and is there, is asked again: its end is under way, and may still not come about.
func (k *keepAliveStream) settle(ctx context.Context, answer renewal) {
	sure, err := k.begin(ctx, nil)
	if err == nil {
		note := kv.LeaseNotes{Store: k.store}.Of(answer.response.ID)
		switch err = sure(); {
		case err != nil || note == nil:
		case answer.response.TTL > 0:
			note.Store(true)
		default:
			k.doubt(ctx, answer, "the end of lease %x is under way, and has not come about for %v")
			return
		}
	}
	answer.err, answer.sure = err, true
	k.answers.add(answer)
}

// It is asked again after leastDoubt, and then more and more rarely.
const leastDoubt, mostDoubt = 100 * time.Millisecond, time.Second

// doubt asks for a renewal again in a moment, unless it was asked for so for as long as a request may take: then why is
// the answer, with the lease and how long that is.
func (k *keepAliveStream) doubt(ctx context.Context, answer renewal, why string) {
	now := k.clock.Now()
	if answer.doubted.IsZero() {
		answer.doubted = now
	}
	if most := k.limits.now().RequestTimeout; now.Sub(answer.doubted) >= most {
		answer.err = status.Errorf(codes.Unavailable, "mimir: "+why+": ask again", answer.response.ID, most)
		k.answers.add(answer)
		return
	}
	timer := k.clock.NewTimer(min(max(now.Sub(answer.doubted), leastDoubt), mostDoubt))
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
		return // nobody waits for answers any more
	}
	answer.sure = false
	answer.response = &pb.LeaseKeepAliveResponse{Header: k.header(k.store.Revision()), ID: answer.response.ID}
	k.renewals.renew(answer, k.answers)
}

func (k *keepAliveStream) acquire(ctx context.Context, permits int) error {
	for range permits {
		select {
		case k.permits <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (k *keepAliveStream) send(answer renewal) error {
	if answer.err != nil {
		return answer.err
	}
	return k.stream.Send(answer.response)
}
