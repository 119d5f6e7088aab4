package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// spans counts what is read of spans, and stops where nobody wants more.
type spans struct {
	*history
	read int
}

// Span implements Fleet.
func (s *spans) Span(
	ctx context.Context, sp command.Span, at int64, visit func(*mvccpb.KeyValue),
) (int64, error) {
	revision, err := s.history.Span(ctx, sp, at, func(kv *mvccpb.KeyValue) {
		if ctx.Err() == nil {
			s.read++
			visit(kv)
		}
	})
	return revision, errors.Join(err, ctx.Err())
}

// What a tail touches is held up to a bound: its keys with what they were and became, those of ranges, and leases. What
// is more is given up before anything is done, and a range is not read to its end. What a key no longer is counts no
// more.
func TestWhatIsHeldIsBounded(t *testing.T) {
	const most = 64 << 10
	large := strings.Repeat("x", 16<<10)
	var keys, values, leases, again requests
	for i := range 100 {
		keys = append(keys, put(fmt.Sprint("new/", i), ""))
		leases = append(leases, &pb.LeaseGrantRequest{ID: int64(100 + i), TTL: 60})
	}
	for i := range 10 {
		values = append(values, put(fmt.Sprint("new/", i), large))
		again = append(again, put("k", large+fmt.Sprint(i)))
	}
	doubt := cas("k", 3, put("new/a", large), put("new/b", large), put("new/c", large), put("new/d", large))
	for _, c := range []struct {
		what  string
		tail  requests
		adapt func(*Fork)
		fits  bool
	}{
		{what: "many keys", tail: keys},
		{what: "large values", tail: values},
		{what: "leases", tail: leases},
		{what: "a range", tail: requests{del("r/", "r0")}},
		{what: "a range that is compared", tail: requests{absent("r/", "r0", put("new", "1"))}},
		{what: "one of which it is not known what it did", tail: requests{doubt},
			adapt: func(f *Fork) { f.Revision, f.Readable = 0, f.Base }},
		{what: "one key over and over", tail: again, fits: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			today := &spans{history: newHistory(t)}
			today.apply(put("k", "1"))
			for i := range 1000 {
				today.apply(put(fmt.Sprintf("r/%03d", i), "x"))
			}
			fork := today.begin(2, 2)
			if c.adapt != nil {
				today.apply(put("k", "2"))
				c.adapt(&fork)
			}
			before := today.Revision()
			o := Options{Fork: fork, MaxOps: 128, Report: func(*Entry) error { return nil }}
			o.MaxHeld = most
			_, err := Run(t.Context(), tailOf(c.tail...), today, o)
			if c.fits {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrTooMuch) || today.Revision() != before || today.read > most/heldOfKey+1 {
				t.Errorf("%v; at revision %d after %d, and %d keys of ranges were read", err, today.Revision(), before,
					today.read)
			}
			if o.MaxHeld = 0; c.adapt == nil {
				if _, err := Run(t.Context(), tailOf(c.tail...), today, o); err != nil {
					t.Errorf("without a bound: %v", err)
				}
			}
		})
	}
}
