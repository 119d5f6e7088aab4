// Package throttle holds what goes to each other region to a cap in bytes a second.
//
// It promises:
//
//   - H1. In any time no more goes to a region than its cap allows in that time, a quarter of a second's worth, and one
//     message.
//   - H2. Who is held hears of everything else meanwhile: whoever holds does what cannot wait, and looks again at least
//     ten times a second, so that another cap, or none, counts from then on.
//   - H3. No region waits for another one.
//
// Caps are asked for anew each time, with the time of the clock. What is counted, and what is held at all, is up to
// whoever sends (stream, transfer). The nil Throttle has no caps.
package throttle
