package main

// longest are the packages that -quick leaves out: beside others' work on two cores each of them takes minutes with the
// race detector. A run of everything begins with them, in this order, so that none is left running alone at the end.
// README.md names them.
var longest = []string{"e2e", "replication", "sim", "replication/internal/wal", "kv", "replication/internal/raftgroup"}

// long are those that begin next, also with -quick, for the same reason.
var long = []string{"server", "cmd/mimir", "etcdapi", "server/verify", "backup/archive"}

// single are packages in which nothing runs beside anything else, tests included: the race detector has nothing to see
// there, and makes them slower, to link at the least. They are tested without it, in this order, the longest first. A
// test looks for what would make that wrong.
var single = []string{
	"replication/internal/ballot", "replication/internal/succession", "kv/mvcc", "kv/command", "lint",
	"check", "backup/bolt", "backup/whole", "bench/goals", "bench/profile", "replication/contract",
	"replication/durable", "replication/internal/progress", "replication/internal/rescue",
	"replication/internal/tail", "replication/timeline", "server/authority", "server/fleetfile", "server/plain",
}

// A run of everything leaves these tests to commands of their own, which .ci/run does too.
const (
	// planting are tests that run others again and again, each time with a mistake in the code that these have to
	// notice: they test tests. make planted runs them.
	planting = "^Test(PlantedBugs|PlantedMistakes|Mistakes|MistakesOfFiles)Are(Caught|Seen)$"
	// written are tests that do what pages say, as it stands there, each command a process. make pages runs them.
	written = "^Test(TheRunbooksRun|EveryBlockIsRun|TheFirstDayAsWritten|TheDemoIsPlayed)$"
	// fleets are tests that run fleets of processes through one story each, for a minute with both processors.
	// TestCampaign, which does each fault of machines and links once, is not among them. make fleets runs them.
	fleets = "^Test(FirstLight|FiveRegions|BootstrapUnderFaults|APartialRegion|" +
		"WritesWaitForTheRegionsThatWereAskedFor|EverythingIsDeletedAndADelayedRegionTakesOver)$"
)

// counted is the table of failures: a run of everything makes it once, without the race detector, with the seeds of its
// end.
const counted = "^TestFailureTable$"

// seeded are packages that run a part of their seeds with the race detector, and all of them without it.
var seeded = []string{"replication/internal/wal", "replication/internal/checkpoint"}
