package server

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Each command is of the level of the earliest nodes that apply it as all others do.
func TestLevelsOfCommands(t *testing.T) {
	put := command.EncodePut(&pb.PutRequest{Key: []byte("k")})
	ends := command.EncodeLeaseExpiryPart(7, nil, command.Begins)
	key := make([]byte, command.TokenKeyBytes)
	plain := command.Identity{User: "ann", Revision: 7}
	based := command.Identity{User: "ann", Revision: 7, Present: true}
	for _, c := range []struct {
		what    string
		command []byte
		level   timeline.Level
	}{
		{"a put", put, timeline.LevelFirst},
		{"an end", ends, timeline.LevelEnds},
		{"a put of somebody", command.EncodeAs(plain, put), timeline.LevelUsers},
		{"enable", command.EncodeAuthEnable(command.AuthEnable{TokenKey: key}), timeline.LevelUsers},
		{"a put of who says on what he stands", command.EncodeAs(based, put), timeline.LevelBasis},
		{"an end of who does", command.EncodeAs(based, ends), timeline.LevelBasis},
		{"another key", command.EncodeOwn(command.EncodeAuthEnable(command.AuthEnable{TokenKey: key, Renews: true})),
			timeline.LevelBasis},
	} {
		if got := commandLevel(c.command); got != c.level {
			t.Errorf("%s is of level %d, not %d", c.what, got, c.level)
		}
	}
}
