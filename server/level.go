package server

import (
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// commandLevel says which nodes can apply a command of the store.
func commandLevel(p []byte) timeline.Level {
	if command.NeedsUsers(p) {
		return timeline.LevelUsers
	}
	return timeline.LevelFirst
}
