package overview

import (
	"context"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Nodes tells where the other nodes of this region are reached.
type Nodes interface{ Others() []string }

// SurveyConfig is what a Survey needs.
type SurveyConfig struct {
	Fleet    string
	Region   string
	Known    func() Known // it does not block
	Self     timeline.Member
	Timeout  time.Duration // of one question
	Watcher  *fleet.Watcher
	Nodes    Nodes
	Client   *peer.Client
	Reporter *Reporter
	Clock    clock.Clock
}

// Survey asks the whole fleet how it is. It is safe for concurrent use.
type Survey struct{ config SurveyConfig }

// NewSurvey returns a Survey.
func NewSurvey(c SurveyConfig) *Survey { return &Survey{c} }

// Fleet asks every node of every region, and returns the picture. Nodes that do not answer before ctx ends, or within
// the timeout of a question, are shown as unreachable.
func (s *Survey) Fleet(ctx context.Context) *contract.FleetStatus {
	c := &s.config
	known := c.Known()
	before, _ := c.Watcher.View()
	addresses := map[string][]string{c.Region: c.Nodes.Others()}
	for name := range known.Others {
		addresses[name] = c.Watcher.Addresses(name)
		for _, h := range before.Regions[name].Strange {
			addresses[name] = append(addresses[name], h.Asked)
		}
	}
	regions := s.ask(ctx, addresses)
	own, self := regions[c.Region], c.Reporter.Report()
	own.Nodes = append(own.Nodes, fleet.Heard{Report: self, Asked: c.Self.PeerAddr})
	heard, _ := c.Watcher.View()
	for name, r := range regions {
		r.Last = heard.Regions[name].Last
		known := heard.Regions[name].Life
		if name == c.Region {
			known = self.Formed
		}
		r.Separate(known)
	}
	out := summarize(c.Fleet, c.Self.Name, c.Clock.Now(), regions)
	known.describe(out, regions)
	return out
}

// ask asks everybody at once.
func (s *Survey) ask(ctx context.Context, addresses map[string][]string) map[string]*fleet.Region {
	var mu sync.Mutex
	var wg sync.WaitGroup
	regions := map[string]*fleet.Region{}
	asker := Asker{Region: s.config.Region, Member: s.config.Self}
	for name, addrs := range addresses {
		region := &fleet.Region{Name: name}
		regions[name] = region
		for _, addr := range addrs {
			wg.Go(func() {
				askCtx, cancel := context.WithTimeout(ctx, s.config.Timeout)
				defer cancel()
				r, err := Ask(askCtx, s.config.Client, addr, asker)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					region.Err = err
					return
				}
				if r.Region != name || heard(region, r.ID) != nil {
					return // somebody else's address, or a node with two
				}
				region.Nodes = append(region.Nodes, fleet.Heard{Report: r, Asked: addr})
			})
		}
	}
	wg.Wait()
	return regions
}
