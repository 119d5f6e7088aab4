// Package space watches how much room the data of a node has, and keeps some of it.
//
// It promises that the alarm of this node is raised soon (within a second, once there is a primary) after its store has
// outgrown the quota, its disk has less free than the reserve, or the store has found no room for what it had to write
// (S1), is raised again if it is disarmed while that still holds, and told anew from time to time, for nodes that did
// not understand it (S2), and not for what was seen long ago, before this process stood still (S4); that it never
// disarms one: that is for an operator, who knows what was done about it. A ballast, a file of nothing, is kept while
// there is room for it and given up bit by bit when the disk is nearly full, the last parts only before anything else
// is opened at a start, so that a node can start, delete, compact and leave on a disk that somebody else has filled,
// and can so again, at least as often as there are such parts, if he fills what the node was given. It is made again as
// soon as there is room, so that this is so each time (S3).
//
// What an alarm means is the business of etcdapi, which refuses writes, and of the store, which keeps it.
package space
