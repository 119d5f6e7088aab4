package propose

import (
	"context"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
)

const (
	// maxParts bounds what is told of one proposal: one that waits for a leader is tried fifty times a second.
	maxParts = 32
	// maxAlone bounds the streams of traced proposals, each of which has one of its own. Those beyond it join the
	// others, and the leader tells nothing of them.
	maxAlone = 64
)

// trace tells of one proposal that is in a trace which part of its way it is on. A nil trace tells nothing.
type trace struct {
	tracer contract.Tracer

	mu    sync.Mutex
	whole contract.Span
	part  contract.Span // under way; nil: none is told of
	name  string        // of what it is on
	parts int
	over  bool
}

// traceOf begins to tell of a proposal, if ctx says that it is in a trace.
func (p *Proposer) traceOf(ctx context.Context) *trace {
	tracer := p.config.Tracer
	if tracer == nil {
		return nil
	}
	parent := transport.Traceparent(ctx)
	if parent == "" {
		return nil
	}
	whole := tracer.Begin(parent, contract.PartWrite)
	if whole == nil {
		return nil
	}
	t := &trace{tracer: tracer, whole: whole}
	t.on(contract.PartQueue)
	return t
}

// on says that the proposal is on that part of its way. It returns the part's traceparent, empty if it is told of none.
func (t *trace) on(name string) string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.name == name && t.part == nil {
		return ""
	}
	if t.name != name {
		t.leave(nil)
		if t.name, t.parts = name, t.parts+1; t.parts > maxParts {
			return ""
		}
		if t.part = t.tracer.Begin(t.whole.Traceparent(), name); t.part == nil {
			return ""
		}
	}
	return t.part.Traceparent()
}

// leave ends the part under way. The caller holds mu.
func (t *trace) leave(err error) {
	if t.part != nil {
		t.part.End(err)
		t.part = nil
	}
}

// note says more of the part under way. It is for who has a trace: to make a value of any kind costs memory.
func (t *trace) note(key string, value any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.part != nil {
		t.part.Note(key, value)
	}
}

// end says that the proposal is over.
func (t *trace) end(err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	t.leave(err)
	t.whole.End(err)
}

// alone makes a link for u and nothing else, if it is in a trace: then its stream can say in which. Nil: u joins the
// others. The caller holds mu.
func (f *forwarder) alone(addr string, u *proposal) *link {
	if u.trace == nil {
		return nil
	}
	parent := u.trace.on(contract.PartForward)
	u.trace.note("to", addr)
	if parent == "" || f.traced >= maxAlone {
		return nil
	}
	l := f.newLink(addr)
	l.idle, l.alone = make(chan struct{}), true
	f.traced++
	f.running.Go(func() {
		l.run(transport.WithTraceparent(f.ctx, parent))
		f.mu.Lock()
		f.traced--
		f.mu.Unlock()
	})
	return l
}
