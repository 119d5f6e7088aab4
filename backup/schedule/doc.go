// Package schedule takes backups of a fleet by itself, and lets go of old ones.
//
// It promises:
//
//   - K1: there is one backup in each slot of the plan, as long as the node that takes them is up and the place takes
//     them. Of slots that were missed one is made up for, at once. What fails is tried again, ever later, at most half
//     an hour.
//   - K2: nothing is deleted but whole backups of this fleet and region, by name and size, that the plan keeps no more,
//     and only after another one was saved, and read back, just before, and by the number of newer ones that this node
//     has read, all of each, and found whole. The newest is never deleted, and none for its
//     age alone: a clock that is wrong deletes nothing early. What is of a time to come, since a clock was wrong,
//     neither counts nor goes. Nor does what another region took: one that is cut off, and goes on, lets none go.
//   - K3: two nodes that do it at the same time do no harm: there are two backups, of two names.
//   - K4: nothing that fails here ends the node.
//   - K5: none counts as the newest that this node has not read, all of it, and found whole; after a start, too. Nor is
//     one deleted that it has not read. What it finds broken never counts, and is deleted only if it has just saved it.
//     What a node took that was found to hold something else than its region neither counts nor goes.
//     After a start it reads the others once as well, before something goes for them; what is due comes first.
//   - K6: a backup counts, and lets older ones go, only if it is of the history that the region has now. What is of
//     another beginning, was given up, or is of another life with the same beginning, neither counts nor goes. What is
//     further in the history than more than half of all regions are known to have come lets none go but of its own
//     kind, whoever looks: a primary that is cut off goes on, and may be given up, and a region that is heard may be
//     far behind. What does not say where it is, of a version before, lets
//     none go, and goes by the number of those that say it.
//
// Where a backup is in the history, its [Place], is in its note; [Stand] alone tells what that makes of it.
//
// Which node does it, and what a backup is, is the business of who runs it (server, backup); where it lies, that of
// backup/store. [Plan] decides; [Keeper] does.
package schedule
