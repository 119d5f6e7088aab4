package replay

// Verdict is what became of a command, or would.
type Verdict string

// Verdicts.
const (
	Applied     Verdict = "applied"
	Applies     Verdict = "applies" // it would be applied
	There       Verdict = "there"   // what it did is in today's history
	Nothing     Verdict = "nothing" // it changed nothing, or was refused, when it was done
	Conflict    Verdict = "conflict"
	LeftOut     Verdict = "left-out"     // Options.Only
	NotReplayed Verdict = "not-replayed" // compactions, alarms, and leases that ended by themselves
)

// Value is a key at some time.
type Value struct {
	Exists bool   `json:"exists"`
	Value  []byte `json:"value,omitempty"`
	// Lease, Revision, Version are 0 where they are not known.
	Lease    int64 `json:"lease,omitempty,string"`
	Revision int64 `json:"modRevision,omitempty,string"`
	Version  int64 `json:"version,omitempty,string"`
}

// Difference is a key that is in the way of a command.
type Difference struct {
	Key    []byte `json:"key"`
	Reason string `json:"reason"`
	Fork   *Value `json:"fork,omitempty"`  // nil if it is not known
	Lost   *Value `json:"lost,omitempty"`  // as the command left it, or found it; nil if that is not known
	Today  *Value `json:"today,omitempty"` // nil if nobody looked
}

// Entry is what became of one command.
type Entry struct {
	*Command
	Verdict     Verdict      `json:"verdict"`
	Keys        [][]byte     `json:"keys,omitempty"` // that it changed, or may have changed
	Lease       int64        `json:"lease,omitempty,string"`
	Reason      string       `json:"reason,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
}

// Summary counts the commands of a tail by what became of them.
type Summary struct {
	Commands    uint64 `json:"commands"`
	Applied     uint64 `json:"applied"` // or would be
	There       uint64 `json:"there"`
	Nothing     uint64 `json:"nothing"`
	Conflicts   uint64 `json:"conflicts"`
	LeftOut     uint64 `json:"leftOut"`
	NotReplayed uint64 `json:"notReplayed"`
}

func (s *Summary) add(v Verdict) {
	s.Commands++
	switch v {
	case Applied, Applies:
		s.Applied++
	case There:
		s.There++
	case Nothing:
		s.Nothing++
	case Conflict:
		s.Conflicts++
	case LeftOut:
		s.LeftOut++
	case NotReplayed:
		s.NotReplayed++
	}
}
