package sim

// byTable are mutants that the table of failures finds.
var byTable = []planted{
	{
		name: "the deaf primary is supported for ever",
		edits: []edit{{
			"replication/internal/ballot/voter.go", "deaf && wanted && !bound {", "deaf && wanted && bound {",
		}},
	},
	{
		name: "who just lost its lease is deaf",
		edits: []edit{{
			"replication/internal/ballot/voter.go", "now-alone >= lease/3+settles(lease)", "now-alone >= 0",
		}},
	},
	{
		name: "the guard counts from when the process started",
		edits: []edit{{
			"replication/internal/ballot/voter.go", "term: term, since: now, count:", "term: term, count:",
		}},
	},
	{
		name: "the lease is asked for only before a write is proposed",
		edits: []edit{{
			"replication/internal/standing/fence.go",
			"held := has.Epoch == e && f.clock.Elapsed() < has.Until && p <= has.Ceiling",
			"held := has.Epoch == e || p > has.Ceiling",
		}},
	},
	{
		name: "a charter is written after one that nobody keeps yet",
		edits: []edit{{
			"replication/internal/votes/change.go",
			"s.Charter().Epoch == s.Cursor.Epoch && v.holder.Known(s.Charter().Mark())",
			"s.Charter().Epoch == s.Cursor.Epoch",
		}},
	},
	{
		name: "a write that waits long does not end the lease",
		edits: []edit{{
			"replication/internal/votes/votes.go", "Writes.Stalled(c.Lease / 2)", "Writes.Stalled(20 * c.Lease)",
		}},
	},
	{
		name:  "a witness' guard counts from when it is asked",
		edits: []edit{{"replication/witness/witness.go", "\tseat.Begin()\n", ""}},
	},
}
