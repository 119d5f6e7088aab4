package replication

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// What another region said is no word on how it is once it was not asked again for longer than a round takes: this
// process stood still.
func TestWhatARegionSaidLongAgoIsNotItsHealth(t *testing.T) {
	asked := time.Unix(1_000, 0)
	led := true
	said := fleet.Heard{Report: fleet.Report{
		Region: "eu", Node: "eu-1", ID: 1, Leader: true, LeaderID: 1, Led: &led, Role: "secondary",
	}, Asked: "eu-1", At: asked}
	r := fleet.Region{Name: "eu", Nodes: []fleet.Heard{said}, Tries: 1, Asked: asked, Last: &said}
	p := peerStatus("eu", []string{"eu-1"}, r, asked.Add(2*time.Second), 3*time.Second)
	if !p.Healthy || p.AgeSeconds != 2 {
		t.Errorf("asked just now: %+v", p)
	}
	p = peerStatus("eu", []string{"eu-1"}, r, asked.Add(20*time.Second), 3*time.Second)
	if p.Healthy || p.Role != "" || p.Problem != "not asked for 20 s" || p.LastHeard == nil ||
		p.LastHeard.AgeSeconds != 20 {
		t.Errorf("asked long ago: %+v", p)
	}
	led = false
	if p = peerStatus("eu", []string{"eu-1"}, r, asked, 3*time.Second); p.Healthy || p.Problem == "" {
		t.Errorf("its leader hears no majority: %+v", p)
	}
}
