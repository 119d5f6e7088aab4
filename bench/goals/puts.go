package goals

import (
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// What a put may take.
const (
	putBeyond   = 0.15        // milliseconds beyond echo and a sync, at one client
	putOfEcho   = 0.6         // of the requests a second of echo
	putCost     = 1.0 / 3     // of the processor time of etcd's servers
	putTail     = 0.5         // of etcd's p99
	putStall    = time.Second // no put of any round takes so long
	put         = "put"
	oneClient   = 1
	someClients = 100
	manyClients = 1000
)

// Puts are their loads, and what it takes to write 4 KiB and sync them, in nanoseconds.
type Puts struct {
	Loads []Load
	Sync  bench.Spread
}

// JudgePuts holds puts to what the messages and the disk take, and to etcd.
func JudgePuts(p Puts) Goal {
	g := Goal{Number: 3, Name: "Puts"}
	g.Figures = append(g.Figures, p.beyond())
	for _, clients := range []int{someClients, manyClients} {
		l := find(p.Loads, put, clients)
		g.Figures = append(g.Figures,
			l.rate(l.Echo, "echo", atLeast(putOfEcho)),
			l.ofEtcd("processor time of the servers", atMost(putCost),
				func(s *Side) time.Duration { return s.ProcessorRequest }),
			l.ofEtcd("p99", atMost(putTail), func(s *Side) time.Duration { return s.P99 }),
			l.longest())
	}
	return g
}

// beyond is what a put at one client takes beyond what nobody can do without.
func (p *Puts) beyond() Figure {
	l := find(p.Loads, put, oneClient)
	f := wanted(l.Name()+": median beyond echo and fdatasync", "ms", atMost(putBeyond), l.Name())
	if l.Mimir == nil || l.Echo == nil || p.Sync.Median == 0 {
		return f
	}
	whole, echo, sync := l.Mimir.P50, l.Echo.P50, time.Duration(p.Sync.Median)
	of := fmt.Sprintf("%.2f less %.2f of echo and %.2f of fdatasync", millis(whole), millis(echo), millis(sync))
	return f.is(millis(whole-echo-sync), of,
		l.Mimir.point(), l.Echo.point(), Point{Value: p.Sync, Spin: l.Mimir.Spin})
}

// longest is the longest put of all rounds: a stall shows there and in no median.
func (l *Load) longest() Figure {
	f := wanted(l.Name()+": the longest of all rounds", "ms", atMost(millis(putStall)), l.Name())
	if l.Mimir == nil || l.Mimir.Longest == 0 {
		return f
	}
	of := ""
	if l.Etcd != nil && l.Etcd.Longest > 0 {
		of = fmt.Sprintf("etcd's: %.0f ms", millis(l.Etcd.Longest))
	}
	return f.is(millis(l.Mimir.Longest), of, Point{Spin: l.Mimir.Spin})
}
