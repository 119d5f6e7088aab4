// Package virtual runs tests in virtual time: those of this tree enter a testing/synctest bubble through it.
//
// It promises that the race detector survives that. Timers of a bubble that are due when somebody sets them or looks at
// them run at once, wherever that is, and all of them as the one thread that the detector knows for the timers of that
// bubble. Two that do so at the same moment damage the detector, which ends the process (golang.org/issue/78156: Go
// 1.26 has it). So a test that is in here runs on one processor while the detector is there: it sees what is not
// ordered, not what happens to collide, and needs no second one for that.
package virtual
