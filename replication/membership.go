package replication

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// members brings the region's list of nodes in line with a change of the Raft configuration. The change carries the description of
// a node that it adds.
func (a *applier) members(cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	encoded, err := proto.Marshal(conf)
	if err != nil {
		return err
	}
	s := a.machine.State()
	s.Conf = encoded
	for _, c := range cc.GetChanges() {
		if c.GetType() == raftpb.ConfChangeType_ConfChangeRemoveNode {
			a.machine.RemoveMember(c.GetNodeId())
		}
	}
	if len(cc.GetContext()) > 0 {
		var m timeline.Member
		if err := json.Unmarshal(cc.GetContext(), &m); err != nil {
			return fmt.Errorf("%w: description of a member: %w", timeline.ErrFormat, err)
		}
		a.machine.SetMember(m)
	}
	for _, m := range slices.Clone(s.Members) {
		m.Learner = slices.Contains(conf.GetLearners(), m.ID) || slices.Contains(conf.GetLearnersNext(), m.ID)
		a.machine.SetMember(m)
	}
	return nil
}
