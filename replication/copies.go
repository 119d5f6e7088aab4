package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
)

// copyPort gives the secondary's room the copies that this node keeps.
type copyPort struct{ node *node }

// Fetch implements secondary.Copies.
func (c copyPort) Fetch(
	ctx context.Context, addr string, minEpoch Epoch, term uint64, progress func(checkpoint.Progress),
) (string, succession.Copy, error) {
	s := c.node.staging
	r := transfer.Request{Region: c.node.config.RegionID, Have: s.Partial(), MinEpoch: minEpoch}
	id, d, err := s.Fetch(ctx, addr, r, progress)
	if err != nil {
		return "", succession.Copy{}, err
	}
	s.Keep(id, term)
	return d.Region, succession.Copy{ID: id, Origin: d.Origin}, nil
}

// Offer implements secondary.Copies.
func (c copyPort) Offer(ctx context.Context, addr, id string, term uint64) error {
	r := transfer.StageRequest{ID: id, From: c.node.config.PeerAddr, Term: term}
	_, err := peer.Ask(ctx, c.node.client, addr, transfer.AskStage, r)
	return err
}
