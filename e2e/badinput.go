package e2e

import "context"

// badInput is the phase of that name.
func (r *run) badInput(ctx context.Context) error {
	return nil
}
