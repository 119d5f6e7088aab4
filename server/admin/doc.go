// Package admin is the operator's protocol: JSON over HTTP under /mimir/v1/ on every node's client port, served by
// Handler and spoken by Client.
//
// It promises that a client can ask any node of any region, that it tries the endpoints it was given in turn until one
// answers, and that an error arrives as the one line that the node has to say. It decides nothing: replication does.
//
//	GET  /mimir/v1/node            this node                      Node
//	GET  /mimir/v1/fleet           every region, as asked now     replication.FleetStatus
//	POST /mimir/v1/switchover      {"to":R}                       replication.MoveReport
//	POST /mimir/v1/switchover/abort {}                            Aborted
//	POST /mimir/v1/fleet/init      {"primary":R}                  replication.Reign, or {"formed":…} (Founded)
//	POST /mimir/v1/failover        {"to":R,"force":bool}          replication.MoveReport
//	                               {"to":R,"acceptLoss":N}
//	POST /mimir/v1/votes/enable    replication.VoteSettings       replication.Charter
//	POST /mimir/v1/votes/pause     {"reason":TEXT}                replication.Charter
//	POST /mimir/v1/votes/hold      {"forNanos":N}                 replication.Charter
//	POST /mimir/v1/votes/change    replication.VoteChange         replication.Charter
//	POST /mimir/v1/votes/recover   {"keep":R}                     replication.Reign
//	POST /mimir/v1/regions/add     replication.RegionAddition     replication.RegionChange
//	POST /mimir/v1/regions/remove  replication.RegionRemoval      replication.RegionChange
//	POST /mimir/v1/regions/move    replication.RegionSourcing     replication.RegionChange
//	GET  /mimir/v1/events          what was decided, as this node keeps it     events.Page
//	                               ?log=L&after=N&since=TIME&region=R&wait=DURATION
//	GET  /mimir/v1/tails           rescue files of the region     [replication.TailInfo]
//	GET  /mimir/v1/tails/{name}    one JSON object for each command of a tail, one a line
//	GET  /mimir/v1/tails/{name}/state   what changed in the state beside a tail: StateHeader, then a Change a line
//	GET  /mimir/v1/tails/{name}/fork    where a tail parted from this node's history     Fork
//	POST /mimir/v1/digest          verify.Question                verify.Answer
//	POST /mimir/v1/digest/beside   verify.Wait                    verify.Beside
//	POST /mimir/v1/rebuild         {}                             Rebuilt
//	/mimir/v1/replay…              see package replays
//	DELETE /mimir/v1/tails/{name}       discards what this node has of a tail            {}
//
// The picture of a node and of the fleet are for every client; all else needs the operator's right, which the handler's
// guard checks and Client shows as the header Authorization: Bearer TOKEN, or by its certificate.
//
// Identifiers of nodes use all 64 bits and are strings in JSON; numbers are read as well.
//
// An error is a status of 400 or above with {"error":TEXT}.
package admin
