package server

import (
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// commandLevel says which nodes can apply a command of the store.
func commandLevel(p []byte) timeline.Level {
	switch {
	case command.NeedsBasis(p):
		return timeline.LevelBasis
	case command.NeedsEnds(p):
		return timeline.LevelEnds
	case command.NeedsUsers(p):
		return timeline.LevelUsers
	}
	return timeline.LevelFirst
}
