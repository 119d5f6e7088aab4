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
