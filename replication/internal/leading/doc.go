// Package leading passes on, in order with what is applied, whether this node leads its region and may write: to the
// rooms that act on it, and to the embedder.
//
// It promises that the embedder is told of a new tenure after the end of the one before, and never of two at once, and
// that what was applied is told to whoever waits for it before anybody looks at it anew. It stands between the log's
// goroutines and the rooms, and decides nothing.
package leading
