package replication

import "context"

// Switchover moves the primary to the region to.
func (n *node) Switchover(ctx context.Context, to string) (*MoveReport, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	return n.governor.Switchover(ctx, to)
}

// Failover makes the region to primary without the old one.
func (n *node) Failover(ctx context.Context, to string, force bool) (*MoveReport, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	return n.governor.Failover(ctx, to, force)
}

// RegionFailover makes this node's region primary by force.
func (n *node) RegionFailover(ctx context.Context) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return n.governor.RegionFailover(ctx)
}
