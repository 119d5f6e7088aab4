package contract

// Tracer is told of the parts that writes in a trace are made of: an embedder's link to a system of traces. It is safe
// for concurrent use, is called by goroutines that hold up others, and must not block. Which requests are in a trace is
// the embedder's affair: those in whose context [transport.WithTraceparent] put something.
type Tracer interface {
	// Begin tells that a part begins within the one whose traceparent is given, on this node or on another. A nil Span
	// says that nobody wants to know: nothing more is told of this write on this node.
	Begin(traceparent, part string) Span
}

// Span is a part that is under way. Its methods may be called by several goroutines, and End at most once: a node that
// stops may end none.
type Span interface {
	// Traceparent is what Begin is given of parts within this one.
	Traceparent() string
	// Note says more of the part.
	Note(key string, value any)
	// End tells that the part is over, with what went wrong, if anything did.
	End(err error)
}

// Parts of a write in a trace, in their order. Those within PartWrite come one after the other, some more than once.
const (
	// PartWrite is all that a node does for the write, from when it takes it until it answers: once on the node that
	// was asked, and, if that forwards it, within PartForward on the leader of the primary region.
	PartWrite = "write"
	// PartQueue is the wait for a frame, or for a leader.
	PartQueue = "queue"
	// PartForward is the way to the leader of the primary region and back.
	PartForward = "forward"
	// PartCommit is from when it is put into a frame until that is agreed on and applied.
	PartCommit = "commit"
	// PartLease is the wait, once it is applied, for a lease or a ceiling that allows to acknowledge it.
	PartLease = "lease"
	// PartRegions is the wait for other regions to have it.
	PartRegions = "regions"
)
