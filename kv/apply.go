package kv

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
)

// Apply applies a batch of commands in order, with its metadata, in one atomic write, or, if that were too much at
// once, in several, each of whole entries.
func (s *Store) Apply(b *replication.Batch) ([][]byte, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	results, err := s.apply(g, b)
	if err != nil {
		return nil, fmt.Errorf("kv: apply at position %d: %w", b.First, asDamage(err))
	}
	return results, nil
}

func (s *Store) apply(g *generation, b *replication.Batch) ([][]byte, error) {
	w := newWork(s, g, b)
	for from := 0; ; {
		to, err := w.step(from)
		if err != nil {
			return nil, err
		}
		if from = to; from == len(b.Commands) {
			return w.results, nil
		}
	}
}

// apply does one command and adds its result to out.
func (r *run) apply(q *command.Request, failed error, out *command.Results) error {
	if failed == nil {
		failed = r.inTurn(q)
	}
	if failed == nil {
		failed = r.permit(q)
	}
	if failed == nil && q.IsPlainPut() {
		if err := r.plainPut(&q.Put); err != nil {
			return err
		}
		r.finish()
		out.Put(r.state.Revision)
		return nil
	}
	resp, err := r.executeDecoded(q, failed)
	r.finish()
	var refused refusal
	switch {
	case errors.As(err, &refused):
		out.Refused(refused)
	case err != nil:
		return err
	default:
		out.Done(resp)
	}
	return nil
}

func (r *run) executeDecoded(q *command.Request, failed error) (resp proto.Message, err error) {
	if failed != nil {
		return nil, refuse(failed)
	}
	return r.execute(q)
}

// plainPut does a put without options.
func (r *run) plainPut(q *pb.PutRequest) error {
	prev, err := r.replaced(q.Key, false)
	if err != nil {
		return err
	}
	return r.change(q.Key, &prev, q.Value, 0, mvcc.KindPut)
}

// Begin jumps the revision if a tail may have been lost, and saves meta.
func (s *Store) Begin(reign replication.Reign, meta *replication.Metadata) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	r, err := newRun(g, s.leases.Edit(), false, watch.EventsWithPrevious, s.bounds)
	if err != nil {
		return fmt.Errorf("kv: begin epoch %d: %w", reign.Epoch, err)
	}
	err = r.begin(reign)
	if err == nil {
		err = s.commit(g, r, meta)
	}
	if err := cmp.Or(err, r.Close()); err != nil {
		return fmt.Errorf("kv: begin epoch %d: %w", reign.Epoch, err)
	}
	return nil
}

// begin moves the revision to where no other history has any, and that of users and roles, if there ever were some.
func (r *run) begin(reign replication.Reign) error {
	if !reign.Lossy {
		return nil
	}
	next, err := r.state.Jumped(mvcc.Jump{Epoch: uint64(reign.Epoch), Place: reign.Place, Nonce: reign.Nonce})
	if err != nil {
		return err
	}
	r.state = next
	return r.auth.Jump(r.write)
}

// commit writes a run with its metadata and shows it to readers and watchers.
func (s *Store) commit(g *generation, r *run, meta *replication.Metadata) error {
	before := g.now.Load()
	if r.state != before.State {
		if err := r.write.State(r.state); err != nil {
			return err
		}
	}
	if !slices.Equal(r.alarms, before.alarms) {
		if err := r.write.Alarms(r.alarms); err != nil {
			return err
		}
	}
	if err := r.write.Metadata(meta); err != nil {
		return err
	}
	if err := r.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	if s.options.OnCommit != nil {
		s.options.OnCommit(r.batch.CommitStats().TotalDuration)
	}
	for key, h := range r.latest {
		r.latest[key] = h.keep()
	}
	// Before anybody can read at the revision. What is counted at those before it stays what it is.
	wide := g.keys != nil && g.keys.Apply(r.state.Revision, r.liveness.All(), r.rewritten)
	after := &moment{State: r.state, alarms: r.alarms, auth: r.auth.State}
	after.stay = before.stay.next(meta, r.leases.Changed() || after.auth != before.auth ||
		!slices.Equal(after.alarms, before.alarms), after.Revision != before.Revision ||
		after.Compact != before.Compact)
	// One step for watchers, for whoever looks at leases, and for readers.
	s.watchers.Publish(r.state, r.written, func() {
		s.leases.Publish(&r.leases, func() {
			g.heads.publish(r.latest, func() { g.now.Store(after) })
		})
	})
	if held := after.holds(); held != before.holds() {
		s.leases.Hold(held)
	}
	r.tellAlarms(s.options.OnAlarm)
	if r.state.Compact != before.Compact {
		s.compactor.wakeUp()
	}
	if wide || r.state.Compact != before.Compact {
		s.counter.wakeUp()
	}
	return nil
}
