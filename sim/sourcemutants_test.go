package sim

// Those of regions that follow others than the primary.
func init() { mutants = append(mutants, sourceMutants...) }

var sourceMutants = []planted{
	{
		name: "who follows this region is followed",
		edits: []edit{{
			"replication/internal/secondary/choice.go", "if !known {", "if !known && false {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/secondary TestByWhomARegionFollows",
	},
	{
		name: "an acknowledgement through a hop counts whatever the one between has",
		edits: []edit{{
			"replication/internal/slots/onward.go", "if h.newer(t.acked[h.By]) {", "if false {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/slots TestAnAcknowledgementThroughAHop",
	},
	{
		name: "a secondary tells who follows it where it is itself, not where the primary is",
		edits: []edit{{
			"replication/ports.go", "c, err := h.reads.Committed(ctx)\n\treturn c.Position, err",
			"_ = ctx\n\treturn h.applied.State().Cursor.Position, nil",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication TestARegionFollowsASecondary",
	},
	{
		name: "a nearer region is asked again and again for a copy from which nothing leads on",
		edits: []edit{{
			"replication/internal/secondary/nearer.go", "s.near != nil && f.has() <=", "false && f.has() <=",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/secondary TestANearerRegionIsAskedOnce",
	},
	{
		name: "a region that shows its history late gives a copy",
		edits: []edit{{
			"replication/internal/secondary/nearer.go", "l.Late == nil && ", "",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/secondary TestWhichNearerRegionGivesACopy",
	},
	{
		name: "a copy of a nearer region comes although it is no further",
		edits: []edit{{
			"replication/internal/secondary/nearer.go", "|| at <= s.Cursor.Position)", "|| at < s.Cursor.Position)",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/secondary TestWhatANearerRegionOffersIsLookedAtBeforeItComes",
	},
	{
		name: "where a copy is is told when it is here",
		edits: []edit{{
			"replication/internal/secondary/bootstrap.go", "\t\t\tn.is(c.Origin.Cursor.Position)\n", "",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/secondary TestWhereACopyIsIsToldAsSoonAsItIsKnown",
	},
	{
		name: "a region that gives way gives on what it has given up",
		edits: []edit{{
			"replication/internal/transfer/shelf.go", "if relation != timeline.Forked {",
			"if relation = timeline.Prefix; relation != timeline.Forked {",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/transfer TestNobodyGetsMoreOfACopyThatPartedFromTheHistory",
	},
	{
		name: "another file that looks the same is taken for the one that was summed",
		edits: []edit{{
			"replication/internal/checkpoint/sums.go", " || !os.SameFile(k.info, info)", "",
		}, {
			"replication/internal/checkpoint/sums.go", "\t\"os\"\n", "",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/checkpoint TestAFileThatNeverChangesIsSummedOnce",
	},
}
