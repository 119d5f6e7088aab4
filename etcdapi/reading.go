package etcdapi

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
)

// AwaitKey is the key of request metadata that has a read at a revision which nobody has written yet wait for it, with
// the value "true". Without it such a read is refused at once, as by etcd.
const AwaitKey = "mimir-await-revision"

// read runs a read of the local store as fresh as asked for, if whoever asks may. rev is the highest revision that the
// read names, 0 for none: it may come from a write that was acknowledged elsewhere, and not be here yet. What was read
// is not told if users or roles were changed meanwhile, nor, if it is to be linearizable, before it is as safe as what
// was acknowledged: local calls sure when it has what it tells by itself. What it reads is taken from the answers.
func (a *API) read(
	ctx context.Context, r proto.Message, serializable bool, rev int64,
	local func(taken *answer, sure func() error) error,
) error {
	taken := a.answers.begin(ctx)
	defer taken.close()
	awaits, err := awaitsRevision(ctx)
	if err != nil {
		return err
	}
	sure := func() error { return nil }
	if serializable {
		err = a.freshForStale(ctx)
	} else {
		sure, err = a.begin(ctx, taken)
	}
	if err != nil {
		return err
	}
	look := func(same func() error) error {
		return local(taken, func() error {
			if err := sure(); err != nil {
				return err
			}
			return same()
		})
	}
	if err := a.look(ctx, r, serializable, awaits, rev, look); err != nil {
		return err
	}
	return a.statusOf(ctx, sure())
}

// begin returns once a local read is linearizable, and how it is made sure that what was seen is as safe as what was
// acknowledged; once it is, it stays so. The answer, nil if it is not counted, is there when that is asked, and waits.
func (a *API) begin(ctx context.Context, taken *answer) (sure func() error, err error) {
	bounded, cancel := context.WithTimeout(ctx, a.patience())
	defer cancel()
	end, err := a.replicator.BeginRead(bounded)
	if err != nil {
		return nil, a.statusOf(ctx, err)
	}
	is := false
	return func() error {
		if is {
			return nil
		}
		if err := taken.waits(); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, a.limits.now().RequestTimeout)
		defer cancel()
		err := end(bounded)
		is = err == nil
		return err
	}, nil
}

// fromAll runs a look at the local store that is linearizable, unless its region shows its history late: then it is at
// what is here.
func fromAll(ctx context.Context, a *API, look func()) error {
	bounded, cancel := context.WithTimeout(ctx, a.patience())
	defer cancel()
	sure, err := a.replicator.BeginRead(bounded)
	if errors.Is(err, replication.ErrDelayed) {
		sure, err = func(context.Context) error { return nil }, nil
	}
	if err == nil {
		look()
		err = sure(bounded)
	}
	return a.statusOf(ctx, err)
}

// barrierUnlessLate is a barrier, unless the region shows its history late: then what is here has to do.
func barrierUnlessLate(ctx context.Context, a *API) error {
	bounded, cancel := context.WithTimeout(ctx, a.patience())
	defer cancel()
	err := a.replicator.ReadBarrier(bounded, replication.Linearizable)
	if errors.Is(err, replication.ErrDelayed) {
		return nil
	}
	return a.statusOf(ctx, err)
}

// look runs a read of the local store, which is fresh enough. However long that waits for its revision, nothing is told
// but what whoever asks was permitted by users and roles that are the same still: what tells something by itself calls
// same when it has what it tells.
func (a *API) look(
	ctx context.Context, r proto.Message, serializable, awaits bool, rev int64, local func(same func() error) error,
) error {
	var by *auth.State // it is judged
	may := a.mayDo(ctx, r)
	id, err := a.judge(ctx, a.clock.Now(), func(s *auth.State, id auth.Identity) error {
		by = s
		return may(s, id)
	}, &catchUp{barrier: a.barrier})
	if err != nil {
		return a.statusOf(ctx, err)
	}
	same := func() error { return a.same(by, id) }
	err = local(same)
	if errors.Is(err, command.ErrFutureRevision) {
		err = a.whenArrived(ctx, rev, serializable, awaits, func() error { return local(same) })
	}
	if changed := same(); changed != nil {
		err = changed
	}
	return a.statusOf(ctx, err)
}

// awaitsRevision reports whether the request waits for a revision that nobody has written yet.
func awaitsRevision(ctx context.Context) (bool, error) {
	for _, text := range metadata.ValueFromIncomingContext(ctx, AwaitKey) {
		if awaits, err := strconv.ParseBool(text); err != nil {
			return false, status.Errorf(codes.InvalidArgument, "mimir: metadata %s: %q is neither true nor false",
				AwaitKey, text)
		} else if awaits {
			return true, nil
		}
	}
	return false, nil
}

// whenArrived runs a read of the local store, which told nothing yet, once this node has the revision rev, which it had
// not. Where that is not known yet, unconfirmed, it finds out whether the primary has it. If nobody has, it waits if
// the request says so; else, and in the end, the revision is one of the future, or it was compacted: one that this
// history will not come to was seen in another. As long as the primary does not say what it has, none of these is said.
func (a *API) whenArrived(
	ctx context.Context, rev int64, unconfirmed, awaits bool, local func() error,
) error {
	bounded, cancel := context.WithTimeout(ctx, a.limits.now().RequestTimeout)
	defer cancel()
	if unconfirmed {
		if err := a.confirmOr(bounded, rev); err != nil {
			return err
		}
		// Of what was named only a part may have been asked for. What is of the future tells nothing.
		if err := local(); !errors.Is(err, command.ErrFutureRevision) {
			return err
		}
	}
	if !awaits {
		cancel() // what it comes to, it has come to by now
	}
	err := a.store.WaitRevision(bounded, rev)
	switch {
	case isCompacted(err):
		return command.ErrCompacted
	case bounded.Err() != nil && errors.Is(err, bounded.Err()):
		return command.ErrFutureRevision
	case err != nil:
		return err
	}
	return local()
}

// strange reports whether the history of this node, as far as it has it, will not come to rev.
func (a *API) strange(rev int64) bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return isCompacted(a.store.WaitRevision(ended, rev))
}

func isCompacted(err error) bool {
	var compacted *watch.CompactedError
	return errors.As(err, &compacted)
}

// confirmOr returns nil when this node has what was acknowledged before the call, or the revision rev.
func (a *API) confirmOr(ctx context.Context, rev int64) error {
	asking, arrived := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if a.store.WaitRevision(asking, rev) == nil {
			arrived()
		}
	}()
	err := a.replicator.ReadBarrier(asking, replication.Linearizable)
	arrived()
	<-ended
	if a.store.Revision() >= rev {
		return nil
	}
	return err
}
