package contract

import "github.com/mimir-kv/mimir/replication/internal/progress"

// How far copies are.
type (
	// Transfer is how far a whole state is on its way to a node; what is nil is not known.
	Transfer = progress.Transfer
	// Bootstrap is how far the copy is that a region takes because it cannot follow the log.
	Bootstrap = progress.Bootstrap
	// Phase is what is being done of either. A reader may meet one that it does not know.
	Phase = progress.Phase
)

// Phases, in their order.
const (
	BootstrapLooking    = progress.Looking
	BootstrapAsking     = progress.Asking
	BootstrapMaking     = progress.Making
	BootstrapChecking   = progress.Checking
	BootstrapFetching   = progress.Fetching
	BootstrapStaging    = progress.Staging
	BootstrapInstalling = progress.Installing
)

// QuietBootstrap is for how long nothing has to come before people are told that nothing does.
const QuietBootstrap = progress.Quiet
