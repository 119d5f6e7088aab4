//go:build !race

package virtual

// raced says whether the race detector watches.
const raced = false
