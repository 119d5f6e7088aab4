package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/server/admin"
)

// replaying is one replay of a tail, whoever asks for it: the command line, or the console by way of a node.
type replaying struct {
	dry          bool
	only         []string
	forkRevision int64
	missingIsNew bool
	maxOps       int
	maxBytes     int
	maxHeld      int64

	tail   *storedTail
	client *admin.Client // of a node that has it
	fork   replay.Fork
	state  bool   // the changes of the whole state are replayed, because not all commands are there
	holes  string // what is not there either
}

// find finds the tail of a name, and where it parted from today's history. note is told what else is to be known.
func (r *replaying) find(ctx context.Context, on tailSearch, name string, note func(string)) (err error) {
	if r.tail, err = on.find(ctx, name, anyCopy); err != nil {
		return err
	}
	if r.tail.Begins() > r.tail.Fork {
		if r.tail, err = on.find(ctx, name, withState); err != nil {
			return err
		}
		r.state = true
		note(fmt.Sprintf("The commands from %d to %d are not told apart any more: what changed is replayed, from the "+
			"whole state that node %s saved", r.tail.Fork+1, r.tail.Begins(), r.tail.Node))
	}
	if r.client, err = r.tail.at(ctx, on.client); err != nil {
		return err
	}
	return r.findFork(ctx)
}

// carryOut decides each command, and does what still applies unless it is dry.
func (r *replaying) carryOut(
	ctx context.Context, t replay.Fleet, progress func(int, uint64), report func(*replay.Entry) error,
) (*replay.Summary, error) {
	return replay.Run(ctx, r.source, t, replay.Options{
		Fork: r.fork, DryRun: r.dry, Only: r.only, MaxOps: r.maxOps, MaxBytes: r.maxBytes,
		MaxHeld: r.maxHeld, Progress: progress, Report: report,
	})
}

// findFork asks a node that has the tail where it parted from today's history.
func (r *replaying) findFork(ctx context.Context) error {
	f, err := r.client.TailFork(ctx, r.tail.Name)
	var refused *admin.Error
	refuses := errors.As(err, &refused) && refused.Status == http.StatusConflict
	switch {
	case err != nil && r.forkRevision > 0 && !refuses:
		f = &admin.Fork{}
	case err != nil:
		return fmt.Errorf("where the tail parted from today's history: %w", err)
	}
	if r.forkRevision > 0 {
		f.Revision, f.Base = admin.Revision(r.forkRevision), admin.Revision(r.forkRevision+1)
	}
	if f.Base == 0 {
		return fmt.Errorf("the revision at the fork, position %d, is not known: %s; "+
			"if you know it, give --fork-revision", max(r.tail.Fork, f.Position), f.Unknown)
	}
	if r.state && f.Revision == 0 {
		return errors.New("the revision at the fork is compacted, so that it is not known which changes of the state " +
			"were lost; if you know it, give --fork-revision")
	}
	r.fork = replay.Fork{
		Revision: int64(f.Revision), Base: int64(f.Base), Readable: int64(f.Readable), MissingIsNew: r.missingIsNew,
	}
	for _, j := range f.Jumps {
		jump := replay.Jump{First: uint64(j.First), Jump: mvcc.Jump{Epoch: uint64(j.Epoch), Place: j.Place}}
		copy(jump.Nonce[:], j.Nonce)
		r.fork.Jumps = append(r.fork.Jumps, jump)
	}
	return nil
}

// source reads the tail, as commands or as changes.
func (r *replaying) source(ctx context.Context, visit func(*replay.Command) error) error {
	if r.state {
		return r.changes(ctx, visit)
	}
	count := uint64(0)
	err := r.client.ReadTail(ctx, r.tail.Name, func(w *admin.Write) error {
		count++
		request := requestOf(w.Op)
		if request == nil {
			return fmt.Errorf("position %d: this version does not know %q", w.Position, w.Op)
		}
		if err := protojson.Unmarshal(w.Request, request); err != nil {
			return fmt.Errorf("position %d: %w", w.Position, err)
		}
		return visit(&replay.Command{
			Position: uint64(w.Position), Op: w.Op, Request: request,
			User: w.User, Refused: w.Refused, Doubt: w.Doubt,
		})
	})
	if err == nil && count != r.tail.Commands {
		err = fmt.Errorf("tail %s: got %d commands of %d", r.tail.Name, count, r.tail.Commands)
	}
	return err
}

// requestOf returns an empty request of an operation, nil if there is no such.
func requestOf(op string) proto.Message {
	switch op {
	case "put":
		return &pb.PutRequest{}
	case "delete-range":
		return &pb.DeleteRangeRequest{}
	case "txn", replay.OpExpiryPart:
		return &pb.TxnRequest{}
	case "compact":
		return &pb.CompactionRequest{}
	case "lease-grant":
		return &pb.LeaseGrantRequest{}
	case "lease-revoke", replay.OpExpiry:
		return &pb.LeaseRevokeRequest{}
	case "alarm":
		return &pb.AlarmRequest{}
	}
	return admin.ChangeOf(op)
}

// changes reads what changed in the state beside the tail, a revision at a time.
func (r *replaying) changes(ctx context.Context, visit func(*replay.Command) error) error {
	var c *replay.Command
	flush := func() error {
		if c == nil {
			return nil
		}
		return visit(c)
	}
	err := r.client.ReadState(ctx, r.tail.Name, r.fork.Revision, func(h *admin.StateHeader) error {
		if int64(h.First) > r.fork.Revision+1 {
			r.holes = fmt.Sprintf("what changed from revision %d to %d was compacted before it was saved, "+
				"and is not there", r.fork.Revision+1, h.First-1)
		}
		return nil
	}, func(line admin.Change) error {
		e := &mvccpb.Event{}
		if err := protojson.Unmarshal(line, e); err != nil {
			return err
		}
		if c == nil || c.Revision != e.Kv.ModRevision {
			if err := flush(); err != nil {
				return err
			}
			c = &replay.Command{Revision: e.Kv.ModRevision, Op: replay.OpChanges}
		}
		c.Events = append(c.Events, e)
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}
