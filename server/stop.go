package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// stop ends the node in good order, or with ErrAbrupt when hurry is closed or the time is up.
func (s *server) stop(hurry <-chan struct{}) error {
	done := make(chan error, 1)
	go func() { done <- s.stopInOrder() }()
	timeout := time.NewTimer(s.settled.shutdownTimeout())
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-hurry:
		return fmt.Errorf("%w: asked to hurry", ErrAbrupt)
	case <-timeout.C:
		return fmt.Errorf("%w: not within shutdown-timeout %s", ErrAbrupt, s.settled.shutdownTimeout())
	}
}

// stopInOrder hands leadership over while the node still serves, so that clients see a pause and no error; then it ends
// requests, the replicator, and last the store that all of them used.
func (s *server) stopInOrder() error {
	defer endTracing(s.tracing, s.settled.shutdownTimeout()/4, s.logger) // what others wait for is done before
	s.handOver()
	s.drain()
	s.endCarrying()
	err := s.replicator.Shutdown()
	s.lessor.Close()
	synced := s.store.Sync()
	if durable.Full(synced) { // the store may wait for room before it lets itself be closed
		s.logger.Warn("what is applied is not flushed, and comes from the log at the next start", "err", synced)
		return errors.Join(err, s.events.Close())
	}
	return errors.Join(err, synced, s.store.Close(), s.events.Close())
}

// handOver gives leadership to a voter that can be reached. If there is none, the others elect one when this node is
// gone.
func (s *server) handOver() {
	h := s.replicator.Health()
	if !h.IsLeader {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.settled.shutdownTimeout()/3)
	defer cancel()
	for _, n := range h.Nodes {
		if n.ID == h.RaftID || n.Learner || !n.Reachable {
			continue
		}
		err := s.replicator.TransferLeader(ctx, n.ID)
		if err == nil || errors.Is(err, replication.ErrNotLeader) {
			return
		}
		s.logger.Warn("leadership not handed over", "to", n.Name, "err", err)
		if ctx.Err() != nil {
			return
		}
	}
}

// drain tells clients to go elsewhere and gives requests under way some time.
func (s *server) drain() {
	finished := make(chan struct{})
	s.events.Hurry()
	go func() {
		s.rpc.gracefulStop()
		close(finished)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if s.console != nil {
		s.console.Close() // those who look at it would stay
	}
	if s.replays != nil {
		s.replays.Close() // it goes on where it was at another node
	}
	for _, web := range s.web {
		if web.Shutdown(ctx) != nil {
			web.Close()
		}
	}
	select {
	case <-finished:
	case <-ctx.Done():
		s.rpc.stop()
	}
	s.gateway()
}

// carryTime bounds how long what is stopped may take to let go of the place of backups or of the archive.
const carryTime = 2 * time.Second

// endCarrying waits until backups and the archive do not use the store any more. They may be stuck in a folder on a
// disk that hangs, and then what is applied here is to become durable all the same.
func (s *server) endCarrying() {
	done := make(chan struct{})
	go func() {
		s.carrying.Wait()
		close(done)
	}()
	timeout := time.NewTimer(min(carryTime, s.settled.shutdownTimeout()/4))
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		s.logger.Warn("the place of backups or of the archive does not answer, and is not waited for",
			"backup.to", s.settled.now().Backup.To, "archive.to", s.settled.now().Archive.To)
	}
}

// lateCarrying tells that a place hangs which other settings have taken the place of.
func (s *server) lateCarrying(key, place string) {
	s.logger.Warn("a former place does not answer, and is not waited for: what holds now begins beside it",
		"setting", key, "former", place, "waited", turnTime)
}

// storeFailed stops the process: what is applied may never become durable, and a node that can apply nothing must not
// lead.
func (s *server) storeFailed(err error) {
	select {
	case s.failed <- err:
	default: // somebody said so before
	}
}

// leaveTime bounds what a node that failed may still try to put in order.
const leaveTime = 3 * time.Second

// leave abandons what a failed node has, for as long as that takes no longer than leaveTime: a part that is stuck must
// not keep the process from ending.
func (s *server) leave() {
	done := make(chan struct{})
	go func() {
		s.abandon()
		close(done)
	}()
	timeout := time.NewTimer(leaveTime)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}

// abandon lets go of whatever is there, after a start that failed or a node that stopped itself.
func (s *server) abandon() {
	if s.rpc != nil {
		s.rpc.stop()
	}
	for _, web := range s.web {
		web.Close()
	}
	if s.console != nil {
		s.console.Close()
	}
	if s.replays != nil {
		s.replays.Close()
	}
	if s.gateway != nil {
		s.gateway()
		s.endCarrying()
	}
	if s.replicator != nil {
		s.replicator.Shutdown()
	}
	if s.lessor != nil {
		s.lessor.Close()
	}
	s.store.Close()
	s.events.Close() //nolint:errcheck // the node has failed for another reason
	s.ports.close()
	endTracing(s.tracing, s.settled.shutdownTimeout()/4, s.logger)
}
