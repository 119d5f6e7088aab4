package goals

import "fmt"

// Memory is a node with a state larger than its memory.
type Memory struct {
	BudgetMegabytes int
	StateMegabytes  int // keys and values
	Phases          []Phased
	Mimir, Etcd     Point // megabytes resident of all nodes with the keys of the operations above
	Keys            int   // that these are
}

// Phased is what was done with that state, and what it took in milliseconds; and how much memory it had meanwhile.
type Phased struct {
	Name string
	Took Point
	Peak Point // megabytes
}

// Resident is the load of the profile of what nodes have resident with the keys of the operations.
const Resident = "resident"

// residentOfEtcd is what a node may have resident of what etcd has, with the same keys.
const residentOfEtcd = 1.5

// JudgeMemory holds the memory of a node to what it was given.
func JudgeMemory(m Memory) Goal {
	g := Goal{Number: 2, Name: "State larger than memory"}
	g.Size = fmt.Sprintf("a budget of %d MB, %d MB of keys and values, "+
		"one node", m.BudgetMegabytes, m.StateMegabytes)
	for _, p := range m.Phases {
		f := wanted(p.Name+": memory at most, of the budget", "times", atMost(1), p.Name)
		switch {
		case p.Took.Failed != "":
			f.Verdict, f.Of = Missed, "failed: "+p.Took.Failed
		case p.Peak.known():
			of := fmt.Sprintf("%.0f MB", p.Peak.Value.Median)
			if p.Took.known() {
				of += "; it took " + brief(p.Took.Value.Median, "ms")
			}
			f = f.is(p.Peak.Value.Median/float64(m.BudgetMegabytes), of, p.Peak, Point{Spin: p.Took.Spin})
		}
		g.Figures = append(g.Figures, f)
	}
	name := fmt.Sprintf("resident with %s keys, of etcd's", count(m.Keys))
	g.Figures = append(g.Figures,
		beside(wanted(name, "times", atMost(residentOfEtcd), Resident), m.Mimir, m.Etcd, "MB"))
	return g
}
