package sim

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	runMutants  = flag.Bool("sim.mutants", false, "run the list of mutants; takes hours on a small machine")
	mutantNamed = flag.String("sim.mutant", "", "of the mutants, run those whose names hold this")
)

// mutantSeeds is within how many seeds each mutant has to be found.
const mutantSeeds = 200

// anyInvariant is how a mutant is found that may break several.
var anyInvariant = []string{"invariant ", "panic: "}

// mutants are bugs that somebody might make. Those with elsewhere are beyond what a fleet in one process can show: that
// test of another level finds them. README.md has what became of each.
var mutants = []planted{
	{
		name: "vote and term are not synced",
		edits: []edit{{
			"replication/internal/raftgroup/promises.go",
			"p.term, p.vote, p.owed = hard.GetTerm(), hard.GetVote(), true",
			"p.term, p.vote = hard.GetTerm(), hard.GetVote()",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/raftgroup TestPromisesAreOnDisk",
	},
	{
		name: "a change of members is made on others than it was decided on",
		edits: []edit{{
			"replication/internal/raftgroup/members.go",
			"on.Changes != l.changes || conf.Equivalent(on.Conf) != nil", "conf == nil",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/raftgroup TestAChangeIsMadeOnWhatItWasDecidedOn",
	},
	{
		name: "disks are not settled",
		edits: []edit{
			{"replication/internal/wal/newest.go", "noted newest) error {\n\tif err := f.fs.SyncDir(f.dir)",
				"noted newest) error {\n\tif true {\n\t\treturn nil\n\t}\n\tif err := f.fs.SyncDir(f.dir)"},
			{"replication/internal/wal/open.go", "func (s *segment) rewrite(proven int64) error {\n",
				"func (s *segment) rewrite(proven int64) error {\n\tif proven >= 0 {\n\t\treturn nil\n\t}\n"},
		},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/wal TestFailedSync|TestNamesAreSyncedAtOpen",
	},
	{
		name: "a jump of one",
		edits: []edit{{
			"kv/mvcc/jump.go", "func (j Jump) lands(from int64) int64 {\n",
			"func (j Jump) lands(from int64) int64 {\n\tif from > 0 {\n\t\treturn from + 1\n\t}\n",
		}},
		flags: []string{"-sim.inject=watch"}, caught: []string{"invariant 11:"},
	},
	{
		name: "a lease of which a part is gone lives on",
		edits: []edit{
			{"kv/execute.go", "if err == nil && q.Ends != 0 {", "if err == nil && q.Ends < 0 {"},
			{"kv/execute.go", "q.Step == command.GoesOn && !r.leases.Ending(q.Ends)", "false"},
		},
		flags: []string{"-sim.inject=lease", "-sim.storage=kv"}, caught: []string{"invariant 12:"},
	},
	{
		name: "compaction removes a delete at its own revision",
		edits: []edit{{
			"kv/mvcc/superseded.go", "if kind == KindDelete && at.Main < compact {",
			"if kind == KindDelete && at.Main <= compact {",
		}},
		flags: []string{"-sim.inject=watch"}, caught: []string{"invariant 10:", "invariant 11:"},
	},
	{
		name: "install takes an older claim",
		edits: []edit{{
			"replication/timeline/machine.go",
			"case outranks(s.HighestClaim(), Latest(c.Origin.Reigns)) && !s.goesBack(c):", "case false:",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/timeline TestAStateOfAnOlderClaimIsNotInstalled",
	},
	{
		name: "a node opens before it asked the others",
		edits: []edit{
			{"replication/internal/fleet/report.go", "if r.Tries == 0 || r.Unled {", "if r.Tries < 0 {"},
		},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/fleet TestViewIsWhatNodesSaid",
	},
	{
		name: "the metadata of a copy lags",
		edits: []edit{
			{"replication/internal/region/applier.go", "type Applier struct {",
				"type Applier struct {\n\tlagged  *contract.Metadata"},
			{"replication/internal/region/hold.go", "\treturn a.config.Keeper.Begin(meta)",
				"\tif a.lagged == nil {\n\t\ta.lagged = meta\n\t}\n\tmeta, a.lagged = a.lagged, meta\n" +
					"\treturn a.config.Keeper.Begin(meta)"},
		},
		flags: []string{"-sim.storage=volatile"}, caught: anyInvariant,
	},
	{
		name: "the machine does not check the chain",
		edits: []edit{
			{"replication/timeline/machine.go", "case f.Previous != s.Cursor.Chain:", "case false:"},
			{"replication/timeline/machine.go", "case r.Previous != s.Cursor.Chain:\n", "case false:\n"},
		},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/timeline TestMachine",
	},
	{
		name: "what is in flight is taken back when it is overtaken",
		edits: []edit{{
			"replication/internal/propose/resolve.go", "\tfinish(flights, err)\n\tp.check()\n}\n\n// abandon",
			"\tfor _, f := range flights {\n\t\tp.back.requeue(f.proposals)\n\t}\n\tp.check()\n}\n\n// abandon",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/propose TestNothingIsRepeated",
	},
	{
		name: "a primary never knows of a loss",
		edits: []edit{{
			"replication/internal/standing/standing.go", "if st.Role() != timeline.Primary || h == nil ||",
			"if st.Role() != \"\" || h == nil ||",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication TestAPrimaryThatLostAPartOfItsReignIsFenced",
	},
	{
		name: "claims that differ in their last words alone are the same",
		edits: []edit{{
			"replication/timeline/history.go", "if c := bytes.Compare(a.appendIdentity(nil), b.appendIdentity(nil)); " +
				"c != 0 {",
			"if c := bytes.Compare(a.appendIdentity(nil), b.appendIdentity(nil)); c != 0 && false {",
		}, {
			"replication/timeline/history.go", "return bytes.Compare(a.Previous[:], b.Previous[:]) > 0", "return false",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/timeline TestSupersedesOrdersAllClaims",
	},
	{
		name: "what found no room in the log counts as written",
		edits: []edit{{
			"replication/internal/wal/patience.go", "\t\tif p == nil || ",
			"\t\tif p != nil && durable.Full(err) {\n\t\t\treturn nil\n\t\t}\n\t\tif p == nil || ",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/wal TestALogWaitsForRoom",
	},
	{
		name: "what a sync found no room for is trusted",
		edits: []edit{{
			"replication/internal/wal/writer.go", "w.offset, w.written = w.offset-int64(w.written), 0", "_ = w.written",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/wal TestWhatASyncFindsNoRoomForIsWrittenAnew",
	},
	{
		name: "a tail that finds no room counts as saved",
		edits: []edit{{
			"replication/internal/region/room.go", "case !durable.Full(err):\n\t\t\treturn err",
			"case !durable.Full(err):\n\t\t\treturn err\n\t\tdefault:\n\t\t\treturn nil",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/region TestATailThatFindsNoRoomIsWaitedFor",
	},
	{
		name: "who is empty takes part at once",
		edits: []edit{{
			"replication/internal/forming/forming.go", "blank: c.Blank,", "blank: false,",
		}},
		flags: []string{"-sim.inject=empty"}, caught: []string{"invariant 1:"},
	},
	{
		name: "a failover is sure of a primary that lost its disks",
		edits: []edit{{
			"replication/internal/primary/assess.go", "leader.Cursor.Epoch < claim.Epoch {",
			"leader.Cursor.Epoch > claim.Epoch {",
		}},
		flags: []string{"-sim.inject=wiped"}, caught: []string{"invariant 14:"},
	},
	{
		name: "a role that changes changes nothing for who has it",
		edits: []edit{{
			"kv/auth/edit.go", "if u.hasRole(name) {\n\t\t\te.users", "if name == \"\" {\n\t\t\te.users",
		}},
		flags: []string{"-sim.inject=users"}, caught: []string{"invariant users:"},
	},
	{
		name: "a password of before counts where a command is applied",
		edits: []edit{{
			"kv/auth/basis.go", "if of, ok := s.Basis(id.User); !ok || of != id.Basis {",
			"if _, ok := s.Basis(id.User); !ok {",
		}},
		flags: []string{"-sim.inject=users"}, caught: []string{"invariant users:"},
	},
	{
		name: "a node too old for a state goes on without it",
		edits: []edit{{
			"replication/ports.go", "if errors.Is(err, timeline.ErrVersion) {",
			"if errors.Is(err, timeline.ErrVersion) && err == nil {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication TestANodeTooOldForAStateEnds",
	},
	{
		name: "a term beyond all elections is taken",
		edits: []edit{{
			"replication/internal/raftgroup/door.go", "case term > s.ceiling:", "case term > s.ceiling && term == 0:",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/raftgroup TestMessagesThatNoMemberSends",
	},
	{
		name: "a word that stops a node is believed as it comes",
		edits: []edit{{
			"replication/internal/raftgroup/doubt.go", "case w.stands(account):", "case err == nil:",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/raftgroup TestWordsAreAskedBack",
	},
	{
		name: "a tail is not saved before a snapshot of Raft",
		edits: []edit{{
			"replication/internal/region/adopt.go", "err = a.saveBeforeState(context.Background(), meta)",
			"_, err = a.check(meta)",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/region TestANodeThatWasAwaySaves",
	},
	{
		name: "an expiry is proposed in a later tenure",
		edits: []edit{{
			"server/server.go", "{{Data: command}}, replication.WithinTenure(t))", "{{Data: command}})",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./server TestAnExpiryOfAnotherTenureIsVoid",
	},
	{
		name: "the note of the newest segment is ignored",
		edits: []edit{{
			"replication/internal/wal/newest.go", "if numbers[n-1] >= noted {", "if noted >= 0 {",
		}, {
			"replication/internal/wal/newest.go", "} else if noted == 0 {", "} else if noted >= 0 {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/wal TestMissingSegment",
	},
	{
		name: "two histories of one reign are not told apart",
		edits: []edit{{
			"replication/internal/stream/sender.go", "if err != nil || here == sub.at.Chain {",
			"if err != nil || len(here) > 0 {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/stream TestTwoHistoriesOfOneReign",
	},
	{
		name: "that an entry is committed is not noted",
		edits: []edit{{
			"replication/internal/wal/committed.go", "if index <= c.last {", "if index <= c.last || term > 0 {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/wal TestWhatWasCommittedIsKnownAfterAKill",
	},
	{
		name: "who was removed ends at once",
		edits: []edit{{
			"replication/internal/raftgroup/leaving.go", "l.ticks <= stayElections*electionTicks {", "l.ticks <= 0 {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/raftgroup TestANodeThatWasRemovedEnds",
	},
	{
		name: "a vote does not wait for a promise to another",
		edits: []edit{{
			"replication/internal/ballot/voter.go", "case now < v.until && c.For != v.region:", "case v.term == 0:",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/ballot TestSearch",
	},
	{
		name: "a vote is forgotten as soon as another is asked for",
		edits: []edit{{
			"replication/timeline/vote.go", "case c.Epoch <= b.Promised:", "case c.Epoch < b.Promised:",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/ballot TestSearch",
	},
	{
		name: "a seal votes for who has an older charter",
		edits: []edit{{
			"replication/internal/ballot/voter.go", "if again && c.Charter.Mark().Before(s.Ballot.Charter.Mark()) {",
			"if again && c.Epoch == 0 {",
		}},
		caught: []string{"FAIL: TestExhaust/there_and_back"}, elsewhere: "./replication/internal/ballot TestExhaust",
	},
	{
		name: "a promotion gives leases half their time",
		edits: []edit{{
			"kv/lease/lessor.go", "it.deadline, it.failed, it.place = deadline(now, it.ttl), false, len(l.due)",
			"it.deadline, it.failed, it.place = deadline(now, it.ttl/2), false, len(l.due)",
		}},
		flags: []string{"-sim.inject=lease"}, caught: []string{"invariant 12:"},
	},
	{
		name: "a renewal is answered by who does not keep the leases any more",
		edits: []edit{{
			"replication/internal/reads/ask.go", "if err := r.confirmTenure(ctx, tenure); err != nil {",
			"if err := r.confirmTenure(ctx, tenure); err != nil && refusal != nil {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication TestWhatADeposedLeaderDecidesIsVoid",
	},
	{
		name: "what was decided in one tenure is written in the next",
		edits: []edit{{
			"replication/internal/propose/pipeline.go", "if !p.open || u.bound && u.tenure != p.tenure() {",
			"if !p.open {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/propose TestWhatIsBoundToATenure",
	},
	{
		name: "a tenure ends at its ceiling",
		edits: []edit{{
			"replication/internal/propose/pipeline.go", "queue, p.reigns = p.shut(), true", "queue = p.shut()",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/propose TestATenureOutlastsItsCeiling",
	},
	{
		name: "a primary needs others to remember that it was voted for",
		edits: []edit{{
			"replication/internal/ballot/ruled.go", "own := r.Primary == s.Region &&", "own := false &&",
		}},
		caught:    []string{"FAIL: Test"},
		elsewhere: "./replication/internal/ballot TestAPrimaryGoesOnThoughItsVotersForgot",
	},
	{
		name: "the silence of one node says that nothing is shared",
		edits: []edit{{
			"replication/internal/secondary/parting.go", "return p, !c.silent", "return p, true",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/secondary TestAForkIsWhereChainsPart",
	},
	{
		name: "a lease that is due is forgotten",
		edits: []edit{{
			"kv/lease/lessor.go", "l.items[it.id] == it && it.place < 0 {", "l.items[it.id] != it && it.place < 0 {",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./kv/lease TestRevocationIsRetriedAndBounded",
	},
	{
		name: "a primary acknowledges after its lease",
		edits: []edit{{
			"replication/internal/standing/fence.go",
			"held := has.Epoch == e && f.clock.Elapsed() < has.Until && p <= has.Ceiling",
			"held := has.Epoch == e && p <= has.Ceiling",
		}},
		flags: []string{"-sim.inject=votes"}, caught: []string{"invariant 7:"},
	},
	{
		name: "votes do not ask what would be lost",
		edits: []edit{{
			"replication/timeline/vote.go", "budget == NoBound || lost <= budget {", "budget == NoBound || lost >= 0 {",
		}},
		flags: []string{"-sim.inject=votes"}, caught: []string{"invariant L3:"},
	},
	{
		name: "the next leader is not told what regions have",
		edits: []edit{{
			"replication/internal/slots/slots.go", "\t\t\ts.tellAgain()\n", "",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/slots TestTheNextLeaderIsToldToo",
	},
	{
		name: "nobody asks what older nodes understand",
		edits: []edit{{
			"replication/internal/primary/perform.go", "g.level(ctx) >= timeline.LevelPlaces {",
			"g.level(ctx) >= timeline.LevelFirst {",
		}},
		flags: []string{"-sim.inject=versions"}, caught: []string{"invariant 16:"},
	},
	{
		name: "a vote is answered before it is kept",
		edits: []edit{{
			"replication/internal/ballot/voter.go",
			"\t\tv.voting = in.Call\n" +
				"\t\tv.requests = append(v.requests, request{call: in.Call, at: now, candidacy: c})\n",
			"\t\tv.promise(now+c.Charter.Lease/3, c.Epoch, c.For)\n\t\tv.reply(s, in.Call, Answer{Granted: true})\n",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/ballot TestSearch",
	},
	{
		name: "a voter answers before it keeps how far may be acknowledged",
		edits: []edit{{
			"replication/internal/ballot/voter.go",
			"\t\tv.requests = append(v.requests, r)\n\t\tv.record(r.call, tells)",
			"\t\tif tells.Op == timeline.OpCeiling {\n" +
				"\t\t\tv.reply(s, r.call, Answer{Granted: true, Hold: r.promise})\n\t\t} else {\n" +
				"\t\t\tv.requests = append(v.requests, r)\n\t\t}\n\t\tv.record(r.call, tells)",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/ballot TestAVoterAnswersWhatItHasKept",
	},
	{
		name: "what a former leader handed over is taken back unasked",
		edits: []edit{{
			"replication/internal/succession/handing.go",
			"\t\tm.abort(errors.New(\"a former leader left the handoff open\"))\n",
			"\t\tm.abort(errors.New(\"a former leader left the handoff open\"))\n\t\ta.refused = true\n",
		}},
		flags: []string{"-sim.crash=after begin"}, caught: anyInvariant,
	},
	{
		name: "who was sealed and goes on does not say that another one wrote",
		edits: []edit{{
			"replication/internal/succession/takeover.go",
			"r.Lossy, o.mandate = r.Lossy || k.Used, &k", "o.mandate = &k",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication TestASealedPrimaryGoesOnBehindItsTarget",
	},
	{
		name: "who is sealed waits for good",
		edits: []edit{{
			"replication/internal/ballot/candidate.go", "return v != nil && c.view.Unheard > 0", "return false",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/ballot TestASealedRegionGoesOn",
	},
	{
		name: "a source sends a reign behind one that its log has not",
		edits: []edit{{
			"replication/internal/stream/reader.go",
			"case errors.Is(err, ErrChain):", "case false:",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/stream TestAReignThatCameWithACheckpoint",
	},
	{
		name: "a handoff is refused before that is in the log",
		edits: []edit{{
			"replication/internal/succession/taking.go",
			"\t\tm.refusals[id] = refusal{in.Call, h}\n",
			"\t\t_ = id\n\t\tm.refused(refusal{in.Call, h}, Decided{Outcome: timeline.Applied})\n",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/internal/succession Test",
	},
	{
		name:  "a file gets its name before what it holds is durable",
		edits: []edit{{"replication/durable/durable.go", "\t\terr = f.Sync()\n", "\t\terr = nil\n"}},
		flags: []string{"-sim.crash=after rescue"}, caught: anyInvariant,
	},
	{
		name: "a state at a fork is named before it is there",
		edits: []edit{{
			"replication/internal/rewind/make.go",
			"\tif err := b.Checkpoint(copies.Contents(dir)); err != nil {\n\t\treturn nil, err\n\t}\n" +
				"\treturn meta, copies.Complete(r.config.FS, dir, meta)\n",
			"\tif err := copies.Complete(r.config.FS, dir, meta); err != nil {\n\t\treturn nil, err\n\t}\n" +
				"\treturn meta, b.Checkpoint(copies.Contents(dir))\n",
		}},
		flags: []string{"-sim.crash=after rewind"}, caught: anyInvariant,
	},
	{
		name: "an install counts before it is durable",
		edits: []edit{{
			"kv/install.go", "\treturn g.flush()\n}\n\n// temporary", "\treturn nil\n}\n\n// temporary",
		}},
		flags: []string{"-sim.crash=after install", "-sim.storage=kv"}, caught: anyInvariant,
	},
	{
		name: "a witness answers before it keeps its vote",
		edits: []edit{{
			"replication/witness/witness.go", "err = w.save(&s, w.line)", "err = w.save(w.state, w.line)",
		}},
		caught: []string{"FAIL: Test"}, elsewhere: "./replication/witness TestAWitnessRemembersItsVote",
	},
}

// TestMutantsFitTheCode: the code moves on, and the bugs that somebody might make in it with it.
func TestMutantsFitTheCode(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Concat(plantedBugs, byTable, mutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { m.plant(t, root) })
	}
}

// TestMutants runs the list: go test ./sim -run TestMutants -sim.mutants -timeout 0.
func TestMutants(t *testing.T) {
	if !*runMutants && *mutantNamed == "" {
		t.Skip("-sim.mutants is not given")
	}
	for _, m := range byTable {
		m.caught, m.elsewhere = []string{"FAIL: TestFailureTable/"}, "./sim ^TestFailureTable$"
		if strings.Contains(m.name, *mutantNamed) {
			t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { m.find(t, 0) })
		}
	}
	for _, m := range mutants {
		if strings.Contains(m.name, *mutantNamed) {
			t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { m.find(t, mutantSeeds) })
		}
	}
}
