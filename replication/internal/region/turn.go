package region

// turn is whose turn it is with the storage. It is held over waits for other nodes, where the state of one of them takes
// the place of this one's: in virtual time a mutex would have time wait for whoever waits for it.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// Lock waits for the turn.
func (t turn) Lock() { t <- struct{}{} }

// Unlock gives it to the next one.
func (t turn) Unlock() { <-t }
