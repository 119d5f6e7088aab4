package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// script makes random operations that fit the model.
type script struct {
	random   *rand.Rand
	model    model
	full     model // as model, with what was compacted
	reset    bool  // there was a reset
	term     uint64
	position uint64
	epoch    uint64
}

func (s *script) payload() []byte {
	switch n := s.random.IntN(20); {
	case n == 0:
		return nil
	case n == 1:
		s.epoch++
		return reign(s.epoch, s.position+1)
	case n == 2 && s.position > 3: // a frame the history has already
		return frame(s.epoch, s.position-2, 2, s.random.IntN(100))
	case n == 3: // a large one
		s.position += 5
		return frame(s.epoch, s.position-4, 5, 1000+s.random.IntN(3000))
	}
	count := 1 + s.random.IntN(4)
	s.position += uint64(count)
	return frame(s.epoch, s.position-uint64(count)+1, count, s.random.IntN(200))
}

// writes returns a random append, the model after each step of it, and applies it to the model.
func (s *script) writes() (ws []Write, states []model) {
	for range 1 + s.random.IntN(3) {
		var w Write
		if s.random.IntN(3) == 0 {
			w.HardState = newHardState(s.term, s.random.Uint64N(9), s.model.last())
			s.model.state = w.HardState
			states = append(states, s.model.clone())
		}
		next := s.model.last() + 1
		if s.random.IntN(12) == 0 && len(s.model.entries) > 0 {
			s.term++
			next -= s.random.Uint64N(uint64(min(len(s.model.entries), 1+s.random.IntN(200)))) + 1
			cut := s.model.clone()
			cut.entries = cut.entries[:next-cut.prevIndex-1]
			states = append(states, cut)
			// What is cut may be replaced by frames at lower positions.
			s.position -= min(s.position, s.random.Uint64N(30))
		}
		for range s.random.IntN(30) {
			e := entry(next, s.term, s.payload())
			if s.random.IntN(30) == 0 {
				*e.Type = raftpb.EntryConfChangeV2
			}
			w.Entries = append(w.Entries, e)
			s.model.append(e)
			s.full.append(e)
			states = append(states, s.model.clone())
			next++
		}
		if len(w.Entries) > 0 || w.HardState != nil {
			ws = append(ws, w)
		}
	}
	return ws, states
}

// compact picks an index to compact to, and applies that to the model.
func (s *script) compact() (index uint64) {
	n := s.random.Uint64N(uint64(len(s.model.entries)) + 1)
	index = s.model.prevIndex + n
	s.model.prevTerm, s.model.prevIndex, s.model.entries = s.model.term(index), index, s.model.entries[n:]
	return index
}

// restart picks a place to reset to, and applies that to the model.
func (s *script) restart() (index, term uint64, hs *raftpb.HardState) {
	index = s.model.last() + s.random.Uint64N(50)
	s.term++
	hs = newHardState(s.term, 0, index)
	s.model = model{prevIndex: index, prevTerm: s.term - 1, state: hs}
	s.full, s.reset = s.model.clone(), true
	s.position += s.random.Uint64N(50)
	return index, s.term - 1, hs
}

// firstPosition is what FirstPosition promises, by looking at everything that ever was.
func (s *script) firstPosition(firstIndex uint64) (pos uint64, known bool) {
	known = !s.reset
	for _, e := range s.full.entries {
		reach, first, ok := entryReach(e.GetType(), e.Data)
		if ok && !known {
			pos, known = first-1, true
		}
		if ok && e.GetIndex() < firstIndex {
			pos = max(pos, reach)
		}
	}
	return pos, known
}

// checkSeek compares Seek with a look at everything the log holds.
func checkSeek(l *Log) error {
	first, known := l.FirstPosition()
	if !known {
		if _, err := l.Seek(0); !errors.Is(err, raft.ErrCompacted) {
			return fmt.Errorf("seek with nothing known: %v", err)
		}
		return nil
	}
	if first > 0 {
		if _, err := l.Seek(first - 1); !errors.Is(err, raft.ErrCompacted) {
			return fmt.Errorf("seek below first position %d: %v", first, err)
		}
	}
	// The log may hold more than the model, but nothing that differs.
	all := model{prevIndex: l.FirstIndex() - 1}
	entries, err := l.Entries(l.FirstIndex(), l.LastIndex()+1, 1<<40)
	if err != nil {
		return err
	}
	all.entries = entries
	top := uint64(first)
	for _, e := range entries {
		reach, _, _ := entryReach(e.GetType(), e.Data)
		top = max(top, reach)
	}
	for pos := uint64(first); pos <= top+1; pos += 1 + (top-uint64(first))/40 {
		got, err := l.Seek(timeline.Position(pos))
		if want := all.naiveSeek(pos); err != nil || got != want {
			return fmt.Errorf("seek %d gives %d, %v; want %d", pos, got, err, want)
		}
	}
	return nil
}

// TestModel runs random operations against a plain slice, with reopens in between.
func TestModel(t *testing.T) {
	for seed := uint64(0); seed < 20; seed += raceShare {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			fs := vfs.NewMem()
			s := &script{random: newRandom(seed), term: 1, epoch: 1}
			l := openLog(t, fs)
			for step := range 120 {
				var err error
				var what string
				switch n := s.random.IntN(100); {
				case n < 80:
					what = "append"
					ws, _ := s.writes()
					err = l.Append(ws, s.random.IntN(4) > 0)
				case n < 88:
					what = "compact"
					err = l.Compact(s.compact())
				case n < 91:
					what = "reset"
					err = l.Reset(s.restart())
				default:
					what = "reopen"
					if err = l.Close(); err == nil {
						l = openLog(t, fs)
					}
				}
				if err == nil && (step%4 == 0 || what != "append") {
					err = s.model.differs(l)
				}
				if pos, known := s.firstPosition(l.FirstIndex()); err == nil {
					if got, ok := l.FirstPosition(); ok != known || uint64(got) != pos {
						err = fmt.Errorf("first position %d, %v; want %d, %v", got, ok, pos, known)
					}
				}
				if err == nil && step%16 == 0 {
					err = checkSeek(l)
				}
				if err != nil {
					t.Fatalf("step %d, %s: %v", step, what, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
