// Package invariant lets the numbered properties of a room be checked while it runs, not only by the room's own tests:
// whole fleets under faults (package sim) are run by the test command with the race detector, and then every Check
// counts. Elsewhere it costs nothing: Enabled is a constant.
//
// It leaves to the rooms what their properties are.
package invariant
