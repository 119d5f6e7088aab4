package sim

// Those of disks that went back.
func init() { mutants = append(mutants, backMutants...) }

var backMutants = []planted{
	{
		name: "a vote for who lacks what is agreed",
		edits: []edit{{
			"replication/internal/raftgroup/agreed.go", "m.GetIndex() >= index && m.GetLogTerm() >= term", "true",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/raftgroup TestNobodyLeadsWhoLacksWhatIsAgreed",
	},
	{
		name: "no voter is waited for",
		edits: []edit{{
			"replication/internal/recall/agreed.go", "return lacks && waiting, lacks", "return false, lacks",
		}},
		flags: []string{"-sim.inject=lie"}, caught: anyInvariant,
	},
	{
		name: "what was agreed on last is what a disk knows to be",
		edits: []edit{{
			"replication/internal/raftgroup/agreed.go",
			"return term < of || term == of && index < last", "return false",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/raftgroup TestWhoMayHaveMoreIsWaitedFor",
	},
	{
		name: "a second history may repeat a term",
		edits: []edit{{
			"replication/internal/raftgroup/agreed.go", "!over || term >= a.began+leapTerms", "true",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/raftgroup TestTheWaitIsBounded",
	},
	{
		name: "what a node was told is forgotten with its process",
		edits: []edit{{
			"replication/internal/recall/history.go", "\tdefault:\n\t\to.Agreed.note(e)\n", "",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication TestWhatANodeWasToldIsAgreedOnOutlastsIt",
	},
	{
		name: "recall judges nothing",
		edits: []edit{{
			"replication/internal/recall/check.go", "func (c *Check) judge(a Answer) error {\n",
			"func (c *Check) judge(a Answer) error {\n\tif a.Node != \"\" {\n\t\treturn nil\n\t}\n",
		}},
		flags: []string{"-sim.inject=old"}, caught: anyInvariant,
	},
	{
		name: "a witness believes its directory",
		edits: []edit{{
			"replication/witness/witness.go", "for _, word := range heard {", "for _, word := range heard[:0] {",
		}},
		flags: []string{"-sim.inject=back"}, caught: []string{"invariant 7:"},
	},
}
