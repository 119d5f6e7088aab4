package stream

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// A subscriber that turns out to be of another life of its region is served no more, and what it acknowledges from then
// on does not count; one that does not say of which it is, of a version before, or to a source of one, is served.
func TestASubscriberOfAnotherLife(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b")
		strange := errors.New("it is of another life of region eu")
		var known, acked atomic.Uint64
		p.serve(func(c *SourceConfig) {
			c.Strange = func(region string, formed map[uint64]string) error {
				if region != "eu" || formed[3] != "x" || known.Load() == 0 {
					return nil
				}
				return strange
			}
			c.OnAck = func(_ string, _ timeline.Epoch, p timeline.Position) { acked.Store(uint64(p)) }
		})
		p.follow(func(c *SinkConfig) { c.Formed = func() map[uint64]string { return map[uint64]string{3: "x"} } })
		p.converge()
		wait(t, "it was heard", func() bool { return acked.Load() == 2 })
		known.Store(1)
		p.us.write("c")
		wait(t, "it was refused", func() bool {
			err := p.sink.Status().Err
			return err != nil && strings.Contains(err.Error(), strange.Error()) && errors.Is(err, ErrRefused)
		})
		if n := len(p.source.Slots()); n != 0 || acked.Load() != 2 {
			t.Errorf("%d sessions, and it acknowledged %d", n, acked.Load())
		}
		known.Store(0) // the region was formed anew, and that is known now
		p.converge()
		wait(t, "it is heard again", func() bool { return acked.Load() == 3 })
	})
}

// A source of a version before is followed as it was.
func TestASourceThatIsOlder(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b")
		p.service = ServiceElder
		p.serve(func(c *SourceConfig) {
			c.Strange = func(_ string, formed map[uint64]string) error {
				if formed != nil {
					t.Error("it is told what it does not know")
				}
				return nil
			}
		})
		p.follow(func(c *SinkConfig) { c.Formed = func() map[uint64]string { return map[uint64]string{3: "x"} } })
		p.converge()
	})
}
