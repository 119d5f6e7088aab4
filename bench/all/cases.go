package main

import (
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// one is a thing to measure.
type one struct {
	Name        string
	Operation   string
	Clients     int
	Connections int
	Keys        int // of one answer
	Unechoed    bool
}

// cases are all of them, in the order of a round.
var cases = []one{
	{Name: "put", Operation: bench.Put, Clients: 1, Connections: 1},
	{Name: "put", Operation: bench.Put, Clients: 100, Connections: 10},
	{Name: "put", Operation: bench.Put, Clients: 1000, Connections: 50},
	{Name: "get, linearizable", Operation: bench.Get, Clients: 1, Connections: 1},
	{Name: "get, linearizable", Operation: bench.Get, Clients: 100, Connections: 10},
	{Name: "get, serializable", Operation: bench.GetSerializable, Clients: 100, Connections: 10},
	{Name: "range of 1,000", Operation: bench.Range, Clients: 10, Connections: 10, Keys: 1000},
	{Name: "page of 500", Operation: bench.Page, Clients: 10, Connections: 10, Keys: 500},
	{Name: "page of 500, old revision", Operation: bench.PageOld, Clients: 10, Connections: 10, Keys: 500},
	{Name: "prefix of 100", Operation: bench.PagePrefix, Clients: 10, Connections: 10},
	{Name: "count of all", Operation: bench.Count, Clients: 10, Connections: 10},
	{Name: "txn, compare and put", Operation: bench.Txn, Clients: 100, Connections: 10},
	{Name: "watch, events", Operation: bench.Watch, Clients: 100, Connections: 10, Unechoed: true},
	{Name: "lease keep-alive", Operation: bench.KeepAlive, Clients: 100, Connections: 10},
}

const (
	valueBytes = 256
	warmup     = 500 * time.Millisecond
	longest    = 5 * time.Second        // of one measurement
	shortest   = 500 * time.Millisecond // below that a figure says nothing
)

// options are those of a case on a side.
func (c *one) options(side bench.Side, keys int, lasts time.Duration) bench.Options {
	o := bench.DefaultOptions()
	o.Sides, o.Operations = []bench.Side{side}, []string{c.Operation}
	o.Clients, o.Connections = c.Clients, c.Connections
	o.KeySpace, o.ValueBytes, o.Duration, o.Warmup = keys, valueBytes, lasts, 0
	if c.Keys > 0 {
		o.RangeLimit = c.Keys
	}
	return o
}

// lasting returns how long each measurement may take so that all end within limit, with a quarter of it to spare.
func lasting(limit time.Duration, cases []one, rounds, sides int) time.Duration {
	n := time.Duration(len(cases) * rounds * sides)
	return min(limit*3/4/n-warmup-bench.Calibration, longest)
}
