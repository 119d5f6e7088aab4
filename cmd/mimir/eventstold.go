package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/mimir-kv/mimir/server/events"
)

// mostTold bounds how many events of a node are remembered. A log of the size that nodes keep has no more.
const mostTold = 1 << 16

// toldEvent is the beginning of the sum of when an event was written down, and of the event.
type toldEvent [16]byte

func toldOf(r *events.Record) (t toldEvent) {
	text, _ := json.Marshal(&r.Event) // it came as such
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(text, uint64(r.At.UnixNano())))
	copy(t[:], sum[:])
	return t
}

// toldEvents are the events that a node told, the last mostTold of them. What they were, and not when: a node whose
// clock was set back, or that did not tell what it could not read, has others of the same time.
type toldEvents struct {
	list []toldEvent // as they were told
	has  map[toldEvent]bool
}

// leaveOut remembers what a page tells. Of another log than before it leaves out what was told: once a node can use a
// directory that it could not use it tells all that is there, and what it told is there under other numbers.
func (t *toldEvents) leaveOut(page *events.Page, other bool) {
	page.Events = slices.DeleteFunc(page.Events, func(r events.Record) bool {
		e := toldOf(&r)
		if t.has[e] {
			return other
		}
		t.add(e)
		return false
	})
}

func (t *toldEvents) add(e toldEvent) {
	if t.has == nil {
		t.has = map[toldEvent]bool{}
	}
	if len(t.list) >= mostTold {
		for _, old := range t.list[:mostTold/2] {
			delete(t.has, old)
		}
		t.list = append([]toldEvent(nil), t.list[mostTold/2:]...)
	}
	t.list, t.has[e] = append(t.list, e), true
}
