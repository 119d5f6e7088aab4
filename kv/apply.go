package kv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication"
)

// maxKeys is no limit.
const maxKeys = 1<<63 - 1

// Apply applies a batch of commands in order, with its metadata, in one atomic write. A command that cannot be decoded is refused
// like one that breaks a rule: on every node alike.
func (s *Store) Apply(b *replication.Batch) ([][]byte, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	results, err := s.apply(g, b)
	if err != nil {
		return nil, fmt.Errorf("kv: apply at position %d: %w", b.First, err)
	}
	return results, nil
}

func (s *Store) apply(g *generation, b *replication.Batch) (results [][]byte, err error) {
	requests := make([]request, len(b.Commands))
	failed := make(map[int]error)
	scan := false
	for i := range b.Commands {
		if err := decodeCommand(b.Commands[i].Data, &requests[i]); err != nil {
			failed[i] = err
			continue
		}
		scan = scan || requests[i].needsScan()
	}
	r, err := s.newRun(g, scan, s.watchers.wanted())
	if err != nil {
		return nil, err
	}
	defer func() { err = closeAfter(r, err) }()
	var out resultWriter
	if b.WantResults {
		out.results = make([][]byte, 0, len(b.Commands))
	}
	for i := range requests {
		if err := r.apply(&requests[i], failed[i], b.WantResults, &out); err != nil {
			return nil, err
		}
	}
	if err := s.commit(g, r, b.Metadata); err != nil {
		return nil, err
	}
	return out.results, nil
}

// apply does one command and adds its result.
func (r *run) apply(q *request, failed error, want bool, out *resultWriter) error {
	if failed == nil && q.isPlainPut() {
		if err := r.plainPut(&q.put); err != nil {
			return err
		}
		r.finish()
		if want {
			out.put(r.state.revision)
		}
		return nil
	}
	resp, err := r.executeDecoded(q, failed)
	r.finish()
	var refused refusal
	switch {
	case errors.As(err, &refused):
		if want {
			out.refused(refused)
		}
	case err != nil:
		return err
	case want:
		out.results = append(out.results, encodeResult(resp))
	}
	return nil
}

func (r *run) executeDecoded(q *request, failed error) (resp proto.Message, err error) {
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
	return r.write(q.Key, &prev, q.Value, 0, kindPut)
}

// Begin jumps the revision if a tail may have been lost, and saves meta.
func (s *Store) Begin(reign replication.Reign, meta *replication.Metadata) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	r, err := s.newRun(g, false, collectEventsWithPrevious)
	if err != nil {
		return fmt.Errorf("kv: begin epoch %d: %w", reign.Epoch, err)
	}
	if reign.Lossy {
		r.state = r.state.jumped()
	}
	if err := closeAfter(r, s.commit(g, r, meta)); err != nil {
		return fmt.Errorf("kv: begin epoch %d: %w", reign.Epoch, err)
	}
	return nil
}

// commit writes a run with its metadata and shows it to readers and watchers.
func (s *Store) commit(g *generation, r *run, meta *replication.Metadata) (err error) {
	before := g.state.Load()
	if r.state != before {
		r.otherBuffer = r.state.append(r.otherBuffer[:0])
		if err := r.batch.Set(keyState, r.otherBuffer, nil); err != nil {
			return err
		}
	}
	if r.otherBuffer, err = meta.AppendBinary(r.otherBuffer[:0]); err != nil {
		return err
	}
	if err := r.batch.Set(keyMetadata, r.otherBuffer, nil); err != nil {
		return err
	}
	if err := r.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	for key, h := range r.latest {
		r.latest[key] = h.keep()
	}
	if len(r.turns) > 0 && before.keys != nil {
		r.state.keys = s.turnKeys(before.keys, r.turns)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.heads.publish(r.latest, func() { g.state.Store(r.state) })
	s.publishLeases(&r.leases)
	if r.state.revision != before.revision {
		s.watchers.publish(before, r)
		s.wakeWaiters()
	}
	if r.state.compact != before.compact {
		s.compactor.wakeUp()
	}
	return nil
}

// turnKeys returns the keys that exist after the turns, nil if they are too many.
func (s *Store) turnKeys(before *keySet, turns []turn) *keySet {
	edit := before.change()
	for _, t := range turns {
		if t.exists {
			edit.add(t.key)
		} else {
			edit.remove(t.key)
		}
	}
	after := edit.set()
	if after.len() > s.options.CountedKeys {
		s.options.Logger.Info("too many keys to count them in memory", "keys", after.len(), "limit", s.options.CountedKeys)
		return nil
	}
	return &after
}

// resultWriter gathers results; those of plain puts share memory.
type resultWriter struct {
	results [][]byte
	arena   []byte
}

// maxPutResultBytes bounds the result of a put: code, header field, length, revision field, revision.
const maxPutResultBytes = 1 + 1 + 1 + 1 + binary.MaxVarintLen64

// put adds the result of a plain put: a PutResponse with nothing but the revision in its header.
func (w *resultWriter) put(revision int64) {
	if cap(w.arena)-len(w.arena) < maxPutResultBytes {
		w.arena = make([]byte, 0, 128*maxPutResultBytes)
	}
	const headerField, revisionField = 1<<3 | 2, 3 << 3
	start := len(w.arena)
	a := append(w.arena, resultOK, headerField, 0, revisionField)
	a = binary.AppendUvarint(a, uint64(revision))
	a[start+2] = byte(len(a) - start - 3)
	w.arena = a
	w.results = append(w.results, a[start:len(a):len(a)])
}

func (w *resultWriter) refused(err error) {
	code, _ := codeOf(err)
	w.results = append(w.results, encodeError(code))
}
