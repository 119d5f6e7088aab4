package goals

import "fmt"

// What the load of a large Kubernetes cluster is to be like, beside etcd without a second region.
const (
	leaseKept = 0.95 // of the requests a second that etcd answers
	leaseTail = 1.0  // of etcd's p99
)

// UpdatesToCreates is the proportion of lease updates to objects created in the largest published clusters.
const UpdatesToCreates = 13

// Leases is that load, scaled, on two regions with a failover in the middle, and on etcd.
type Leases struct {
	Updates, Creates float64 // a second that were asked for
	Objects          int     // that are there
	Seconds          float64
	Mimir, Etcd      LeaseSide
	Pause            Point // milliseconds of the failover in which nothing was answered
	Behind           Point // which part of the slowest hundredth of Mimir's was due in the minute behind its loss
}

// LeaseSide is what one of them did.
type LeaseSide struct {
	PerSecond Point // answered, of Mimir's without the failover's pause
	P99       Point // milliseconds, likewise
	Failed    int   // requests, likewise
}

const leasing = "lease updates and creates"

// JudgeLeases holds the load on two regions to that on etcd.
func JudgeLeases(l Leases) Goal {
	g := Goal{Number: 7, Name: "Leases", Size: fmt.Sprintf("%.0f lease updates and %.0f creates a second, %s objects, "+
		"for %.0f s; a second region, and a failover in the middle; etcd without", l.Updates, l.Creates,
		count(l.Objects), l.Seconds)}
	pause := wanted("pause of the failover", "ms", Bound{}, leasing)
	if l.Pause.known() {
		pause = pause.is(l.Pause.Value.Median, "the loss of all nodes of the region included", l.Pause)
	}
	failed := wanted("requests that failed outside the pause", "", atMost(0), leasing)
	if l.Mimir.PerSecond.known() {
		of := fmt.Sprintf("etcd's: %d", l.Etcd.Failed)
		failed = failed.is(float64(l.Mimir.Failed), of, Point{Spin: l.Mimir.P99.Spin})
	}
	behind := wanted("of the slowest hundredth, due in the minute behind the loss", "times", Bound{}, leasing)
	if l.Behind.known() {
		behind = behind.is(l.Behind.Value.Median, "outside the pause", l.Behind)
	}
	g.Figures = append(g.Figures,
		beside(wanted("requests a second outside the pause, of etcd's", "times", atLeast(leaseKept), leasing),
			l.Mimir.PerSecond, l.Etcd.PerSecond, "/s"),
		beside(wanted("p99 outside the pause, of etcd's", "times", atMost(leaseTail), leasing),
			l.Mimir.P99, l.Etcd.P99, "ms"),
		failed, pause, behind)
	return g
}
