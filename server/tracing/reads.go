package tracing

import (
	"context"
	"time"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/replication"
)

// Reads returns r with a span for what a read waits for before it begins, and for each question to the primary.
func (t *Tracing) Reads(r etcdapi.Replicator) etcdapi.Replicator {
	if t == nil {
		return r
	}
	return &reads{r, t}
}

type reads struct {
	etcdapi.Replicator
	tracing *Tracing
}

// in does something within a span, if it is done for a request that is drawn.
func (t *Tracing) in(ctx context.Context, name string, do func(ctx context.Context) error) error {
	ctx, drawn := parent(ctx, false)
	if !drawn {
		return do(ctx)
	}
	ctx, span := t.tracer.Start(ctx, name)
	err := do(within(ctx, span))
	end(span, err)
	return err
}

// ReadBarrier implements etcdapi.Replicator.
func (r *reads) ReadBarrier(ctx context.Context, l replication.Level) error {
	return r.tracing.in(ctx, "mimir.read", func(ctx context.Context) error { return r.Replicator.ReadBarrier(ctx, l) })
}

// BeginRead implements etcdapi.Replicator.
func (r *reads) BeginRead(ctx context.Context) (done func(ctx context.Context) error, err error) {
	err = r.tracing.in(ctx, "mimir.read", func(ctx context.Context) error {
		done, err = r.Replicator.BeginRead(ctx)
		return err
	})
	return done, err
}

// ReadWithin implements etcdapi.Replicator.
func (r *reads) ReadWithin(ctx context.Context, age time.Duration) error {
	return r.tracing.in(ctx, "mimir.read", func(ctx context.Context) error { return r.Replicator.ReadWithin(ctx, age) })
}

// Ask implements etcdapi.Replicator.
func (r *reads) Ask(ctx context.Context, request []byte) (answer []byte, err error) {
	err = r.tracing.in(ctx, "mimir.question", func(ctx context.Context) error {
		answer, err = r.Replicator.Ask(ctx, request)
		return err
	})
	return answer, err
}
