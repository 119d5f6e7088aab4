package goals

import (
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// Load is an operation with so many clients on all sides, of which each may be nil.
type Load struct {
	Operation         string
	Clients           int
	Mimir, Etcd, Echo *Side
}

// Side is what one of them did.
type Side struct {
	PerSecond         bench.Spread
	P50, P99, Longest time.Duration
	ProcessorRequest  time.Duration // 0 where it is not known
	Spin              bench.Spread
}

// Name is what a load is called.
func (l *Load) Name() string {
	if l.Clients == 1 {
		return l.Operation + ", 1 client"
	}
	return fmt.Sprintf("%s, %d clients", l.Operation, l.Clients)
}

// find returns the load of that kind, without sides if it was not measured.
func find(loads []Load, operation string, clients int) *Load {
	for i := range loads {
		if loads[i].Operation == operation && loads[i].Clients == clients {
			return &loads[i]
		}
	}
	return &Load{Operation: operation, Clients: clients}
}

func (s *Side) point() Point { return Point{Value: s.PerSecond, Spin: s.Spin} }

// rate is the part that Mimir's requests a second are of another side's.
func (l *Load) rate(of *Side, what string, b Bound) Figure {
	f := wanted(l.Name()+": requests a second, of "+what, "times", b, l.Name())
	if l.Mimir == nil || of == nil {
		return f
	}
	a, c := l.Mimir.PerSecond.Median, of.PerSecond.Median
	return f.is(a/c, fmt.Sprintf("%.0f/s of %.0f/s", a, c), l.Mimir.point(), of.point())
}

// ofEtcd is a part that a time of Mimir's is of etcd's.
func (l *Load) ofEtcd(what string, b Bound, take func(*Side) time.Duration) Figure {
	f := wanted(l.Name()+": "+what+", of etcd's", "times", b, l.Name())
	if l.Mimir == nil || l.Etcd == nil || take(l.Mimir) == 0 || take(l.Etcd) == 0 {
		return f
	}
	a, c := take(l.Mimir), take(l.Etcd)
	return f.is(float64(a)/float64(c), brief(millis(a), "ms")+" of "+brief(millis(c), "ms"), l.Mimir.point(),
		l.Etcd.point())
}
