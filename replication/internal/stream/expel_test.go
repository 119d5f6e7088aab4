package stream

import (
	"errors"
	"strings"
	"testing"
)

// A region that is expelled is served no more: its session ends, the log that was kept for that with it, and it is told
// why when it comes again.
func TestARegionIsExpelled(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b")
		var met []error
		gone := errors.New("eu is not one of the fleet")
		bars := error(nil)
		ended := make(chan struct{}, 1)
		p.serve(func(c *SourceConfig) {
			c.Bars = func(string) error { return bars }
			c.OnSession = func(_ string, connected bool) {
				if !connected {
					ended <- struct{}{}
				}
			}
		})
		p.follow(func(c *SinkConfig) { c.Logger = lossesTo(&met) })
		p.converge()
		p.source.Expel("ap") // another
		p.us.write("c")
		p.converge()
		if len(p.source.Slots()) != 1 {
			t.Fatalf("sessions %+v", p.source.Slots())
		}
		bars = gone
		p.source.Expel("eu")
		<-ended
		p.us.write("d")
		wait(t, "it was refused", func() bool {
			return p.sink.Status().Err != nil && strings.Contains(p.sink.Status().Err.Error(), gone.Error())
		})
		if n := len(p.source.Slots()); n != 0 || len(p.eu.texts()) != 3 {
			t.Errorf("%d sessions, eu has %v", n, p.eu.texts())
		}
	})
}
