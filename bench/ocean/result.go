package main

import (
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/ocean/link"
)

// Result is what a run measured. It stands beside the document that is made of it.
type Result struct {
	Command string          `json:"command"` // that made it
	Date    string          `json:"date"`
	Machine bench.Machine   `json:"machine"`
	Line    link.Conditions `json:"line"` // of each direction
	Nodes   int             `json:"nodes"`
	Rounds  int             `json:"rounds"`
	Backlog int             `json:"backlogMegabytes"`
	Whole   bool            `json:"whole"`
	Spin    bench.Spread    `json:"spin"` // in nanoseconds
	LateP99 time.Duration   `json:"latePackets99Nanos"`
	TCP     string          `json:"tcp"` // who sent plain TCP
	Rows    []Row           `json:"rows"`
}

// Row is one figure over the rounds.
type Row struct {
	Name  string       `json:"name"`
	Unit  string       `json:"unit"`
	Value bench.Spread `json:"value"`
	Peer  string       `json:"peer,omitempty"` // of the same round
	Part  bench.Spread `json:"partOfPeer"`     // zero without a peer
}

// figures are those of the rounds so far, in the order in which they came first.
type figures struct {
	order []string
	of    map[string]*figure
}

type figure struct {
	unit, peer    string
	values, parts []float64
}

func (f *figures) add(name, unit string, value float64, peer string, of float64) {
	if f.of == nil {
		f.of = map[string]*figure{}
	}
	if f.of[name] == nil {
		f.of[name] = &figure{unit: unit, peer: peer}
		f.order = append(f.order, name)
	}
	one := f.of[name]
	one.values = append(one.values, value)
	if of > 0 {
		one.parts = append(one.parts, value/of)
	}
}

func (f *figures) rows() (rows []Row) {
	for _, name := range f.order {
		one := f.of[name]
		rows = append(rows, Row{name, one.unit, bench.SpreadOf(one.values), one.peer, bench.SpreadOf(one.parts)})
	}
	return rows
}
