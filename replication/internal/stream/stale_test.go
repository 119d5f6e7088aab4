package stream

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// cutOff is a node that does not hear its region any more: what it has applied stays as it was.
type cutOff struct {
	region *region
	at     atomic.Pointer[View]
}

func (c *cutOff) View() View {
	if v := c.at.Load(); v != nil {
		return *v
	}
	return c.region.View()
}

func (c *cutOff) Changed() <-chan struct{} { return c.region.Changed() }

// committed is a question to a region: it hangs while the node is cut off.
func (c *cutOff) committed(ctx context.Context) (timeline.Position, error) {
	if c.at.Load() == nil {
		return c.region.Cursor().Position, nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// join offers another node of us.
func (p *pair) join(addr string, h History, change ...func(*SourceConfig)) {
	p.t.Helper()
	c := SourceConfig{Region: "us", Log: p.us.log, History: h, Logger: quiet, WindowBytes: testWindow}
	for _, f := range change {
		f(&c)
	}
	node := p.network.Node(addr)
	if err := node.Serve(map[string]transport.Handler{Service: NewSource(c).Handle}); err != nil {
		p.t.Fatal(err)
	}
	p.nodes = append(p.nodes, node)
}

// A source that answers and is cut off from its own region is left for another node of it, and not before there is one.
// Until then nothing that is reported says that nothing is missing.
func TestASourceThatIsCutOffFromItsRegionIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		node := &cutOff{region: p.us}
		p.join("us-2", node, func(c *SourceConfig) { c.Committed = node.committed })
		p.us.write("a")
		var better atomic.Bool
		p.follow(func(c *SinkConfig) {
			c.Addresses = func() []string {
				if better.Load() {
					return []string{usAddress, "us-2"}
				}
				return []string{"us-2"}
			}
			c.Better = func(addr string, _ timeline.Position) bool { return better.Load() && addr == "us-2" }
		})
		p.converge()
		time.Sleep(3 * time.Second)
		if l := p.sink.Lag(); !l.Known || l.AtLeast || l.Seconds > 2 {
			t.Errorf("lag is %+v while the region is heard", l)
		}
		node.at.Store(new(p.us.View()))
		p.us.write("b", "c")
		time.Sleep(time.Minute)
		if s, l := p.sink.Status(), p.sink.Lag(); !s.Connected || !l.AtLeast || l.Seconds < 59 {
			t.Errorf("nobody is better: %+v, lag %+v", s, l)
		}
		p.serve()
		better.Store(true)
		p.converge()
		time.Sleep(time.Minute)
		if s, l := p.sink.Status(), p.sink.Lag(); s.Address != usAddress || l.AtLeast || l.Seconds > 2 {
			t.Errorf("with another node: %+v, lag %+v", s, l)
		}
	})
}

// A source that has much to bring is not left for want of a confirmation, and neither is one that is quiet and
// confirms.
func TestASourceThatBringsOrConfirmsIsNotLeft(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		var confirms atomic.Bool
		var met []error
		p.serve(func(c *SourceConfig) {
			c.Committed = func(context.Context) (timeline.Position, error) {
				if !confirms.Load() {
					return 0, errors.New("no leader")
				}
				return p.us.Cursor().Position, nil
			}
		})
		p.follow(func(c *SinkConfig) {
			c.Better = func(string, timeline.Position) bool { return true }
			c.Logger = lossesTo(&met)
		})
		for range 20 {
			p.us.write("x")
			time.Sleep(5 * time.Second)
		}
		confirms.Store(true)
		time.Sleep(time.Minute)
		if len(met) != 0 {
			t.Errorf("left: %v", met)
		}
	})
}

// A removed or restarted node may have lost the question that it asked its region: it asks again.
func TestAQuestionToTheRegionThatIsLostIsPutAgain(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		node := &cutOff{region: p.us}
		p.serve(func(c *SourceConfig) { c.Committed = node.committed })
		node.at.Store(new(p.us.View()))
		p.follow()
		time.Sleep(30 * time.Second)
		node.at.Store(nil)
		p.us.write("a")
		time.Sleep(10 * time.Second)
		if l := p.sink.Lag(); !l.Known || l.AtLeast || l.Seconds > 2 {
			t.Errorf("lag is %+v", l)
		}
		if got := p.eu.texts(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("eu holds %v", got)
		}
	})
}
