package server

import (
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// LagGate says how far other regions may be behind before writes are slowed down, and refused. What is zero bounds
// nothing.
type LagGate struct {
	Regions     int
	DelayBytes  int64
	DelayTime   time.Duration
	RefuseBytes int64
	RefuseTime  time.Duration
}

func (g LagGate) limits() *replication.LagGate {
	return &replication.LagGate{
		Regions: g.Regions,
		Delay:   replication.LagBound{Bytes: g.DelayBytes, Age: g.DelayTime},
		Refuse:  replication.LagBound{Bytes: g.RefuseBytes, Age: g.RefuseTime},
	}
}
