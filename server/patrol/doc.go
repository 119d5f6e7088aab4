// Package patrol compares what all nodes of a fleet hold, over and over, at a low rate, and says who differs.
//
// It promises:
//
//   - One node asks all others: the one that takes the fleet's writes, for as long as it does. Another one that takes
//     them begins anew. Between nodes, and so across oceans, only sums of ranges travel.
//   - In each round every part of the keys of every node that answers is compared, at one revision and behind one
//     compaction, and then leases, users and roles, at one position (package verify). Who was not compared, or not all
//     of him, is told with the reason, and his last whole comparison stays as old as it is.
//   - A node reads no more bytes a second for it than its settings say, whoever asks ([Answerer]); who asks goes no
//     faster than his own settings say, and once he knows how much there is no faster than half a period needs.
//   - A difference is told when it was found twice, the second time at another revision and a while later, and never
//     where only one side answered, and raises an alarm in the tenure in which they were compared, or none. What was
//     compacted, or lost by a failover meanwhile, is no difference.
//   - Who is right is decided by [Judge] alone, and said to be unknown where nobody has a majority.
//
// Who has another history from its beginning on, as a node that formed its region anew by itself, is told as not
// compared: nothing that he holds says anything of others, and no alarm comes of it.
//
// Who differs from his region is excluded from further comparisons until the alarm that says so is gone. Nodes of a
// version that does not know the question are told as not compared, and as long as there is one no alarm is raised:
// the log, the metrics and mimir status say it.
//
// Not compared is which keys hang on which lease, other than as versions of keys say it, and no alarm comes of a
// difference in alarms alone: nodes of different versions may differ in that. What is read of versions behind the
// revision that is compared is not counted in bytes.
package patrol
