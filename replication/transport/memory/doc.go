// Package memory is a network inside one process, for tests and simulation: a [transport.Transport] for every address,
// with delays, cuts and crashes on demand, on an injected clock.
//
// It promises what a real network of TCP connections promises, and no more. A stream delivers its messages in order or
// breaks; a cut link first stalls its streams, and breaks them with transport.ErrUnreachable when it lasts longer than
// the detection time; a link that is healed before delivers what was on its way. Send blocks while the
// stream's window is full. Messages are handed over without a copy: the slice that Send took is the slice that Recv
// returns.
//
// It works inside a testing/synctest bubble: everything blocks on channels and on timers of the clock, and after
// every transport is closed (or crashed, and its handlers have returned) no goroutine is left.
package memory
