package region

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// ApplyConf implements raftgroup.Machine.
func (a *Applier) ApplyConf(e *raftpb.Entry, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	return change(a, func() error { return configure(a, e, cc, conf) })
}

func configure(a *Applier, e *raftpb.Entry, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	a.handed = e.GetIndex()
	if e.GetIndex() <= a.index {
		return nil // a state that was adopted contains it
	}
	members, err := membershipOf(cc, conf)
	if err != nil {
		return fmt.Errorf("apply configuration change %d: %w", e.GetIndex(), err)
	}
	a.machine.Configure(members)
	a.advance(e)
	if a.behind != nil {
		a.behind.confs[e.GetIndex()] = members
		if err := a.behind.show(); err != nil {
			return err
		}
		a.tell(Outcome{})
		a.publish()
		return nil
	}
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	if err := a.saveMetadata(meta); err != nil {
		return err
	}
	a.tell(Outcome{})
	a.publish()
	return nil
}

// membershipOf reads a change of the Raft configuration, which carries the description of a node that it adds.
func membershipOf(cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) (m timeline.Membership, err error) {
	if m.Conf, err = proto.Marshal(conf); err != nil {
		return m, err
	}
	for _, c := range cc.GetChanges() {
		if c.GetType() == raftpb.ConfChangeType_ConfChangeRemoveNode {
			m.Removed = append(m.Removed, c.GetNodeId())
		}
	}
	if len(cc.GetContext()) > 0 {
		if err := json.Unmarshal(cc.GetContext(), &m.Added); err != nil {
			return m, fmt.Errorf("%w: description of a member: %w", timeline.ErrFormat, err)
		}
	}
	m.Learners = append(append(m.Learners, conf.GetLearners()...), conf.GetLearnersNext()...)
	return m, nil
}
