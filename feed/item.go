package feed

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Kind is what an Item says.
type Kind string

// The kinds of items. As text they are on the lines too: never change one.
const (
	// Began is the first one of a feed that begins with no copy: what comes is behind its token.
	Began Kind = "begin"
	// Changed is a revision: what was changed at it, all of it.
	Changed Kind = "revision"
	// Resolved says that everything up to a revision was given out.
	Resolved Kind = "resolved"
	// Copying begins a copy of all keys at a revision; Keys is some of them, in their order, and Copied its end, with
	// their number. Only then it counts.
	Copying Kind = "copy"
	Keys    Kind = "keys"
	Copied  Kind = "copied"
	// Void says that a failover has cut off the revisions between two: what was given out at them is of no history.
	Void Kind = "void"
)

// Item is one thing that a feed gives. It, and what it has, belongs to who gets it.
type Item struct {
	Kind Kind
	// Cluster is the fleet, of Began and Copying.
	Cluster uint64
	// Revision is what was changed, up to where all was given out, or of which a copy is; of Void, from which the
	// history goes on.
	Revision int64
	// Events are what was changed, of Changed: at least one, and each of another key.
	Events []*mvccpb.Event
	// Keys are of the kind of that name, and Count is how many the whole copy had, of Copied.
	Keys  []*mvccpb.KeyValue
	Count int64
	// After, of Void, is the last revision that counts, or, where that is compacted already, the one to which the feed
	// had come before: void is what was given out between it and Revision. Given says that something there was, by what
	// the token knew.
	After int64
	Given bool
	// Token is from where to go on behind this item, "" if it is none to begin behind.
	Token Token
}

// VoidError ends a feed of which something is void that it has given out.
type VoidError struct {
	After, Next int64 // as After and Revision of the Void before
}

func (e *VoidError) Error() string {
	return fmt.Sprintf("a failover has cut off the history behind revision %d, and what was given out behind it is "+
		"void; it goes on from revision %d: undo that and go on with the token of the item before, or begin with a "+
		"copy", e.After, e.Next)
}

// CompactedError says that what comes next is not there any more.
type CompactedError struct {
	Revision int64 // up to which everything was given out
	Readable int64 // from which on there is something
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("what comes behind revision %d is compacted up to revision %d, or a failover before that has "+
		"cut it off: begin with a copy", e.Revision, e.Readable)
}

// ForkedError says that the fleet has another history than the one that was given out. Since when is not known.
type ForkedError struct {
	Revision int64 // up to which everything was given out
}

func (e *ForkedError) Error() string {
	return fmt.Sprintf("the fleet has another history than the one of which everything up to revision %d was given "+
		"out, and since when is not known: two regions were forced in one epoch, and the other one was kept, or the "+
		"fleet was restored, or begun anew, under its name: begin with a copy", e.Revision)
}
