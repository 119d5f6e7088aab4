package door

import "fmt"

// Shares is how the descriptors of a process are divided.
type Shares struct {
	// Limit is what the system gives.
	Limit int
	// Tables is how many files the store may keep open.
	Tables int
	// Clients, Peers and HTTP are the connections that the listeners may take. What is left belongs to the log, to the
	// store beside its tables, to copies, rescue files and connections to other nodes.
	Clients, Peers, HTTP int
}

const (
	// reserve is for all files but the tables of the store, and for the connections that the node makes itself.
	reserve = 160
	// LeastLimit is with how few descriptors a node starts.
	LeastLimit = 384

	mostTables  = 4096
	mostClients = 16384
	mostPeers   = 1024
	mostHTTP    = 256
	// unlimited stands for a system that does not count.
	unlimited = 1 << 20
)

// Split divides limit descriptors, 0 if the system does not count them. clients, if it is not 0, is how many client
// connections there shall be at most, which must fit.
func Split(limit, clients int) (Shares, error) {
	if limit <= 0 || limit > unlimited {
		limit = unlimited
	}
	if limit < LeastLimit {
		return Shares{}, fmt.Errorf("the limit of open files is %d (ulimit -n): at least %d are needed, 65536 are "+
			"usual", limit, LeastLimit)
	}
	s := Shares{Limit: limit, Tables: min(limit/4, mostTables)}
	left := limit - s.Tables - reserve
	s.Peers, s.HTTP = min(left/4, mostPeers), min(left/8, mostHTTP)
	left -= s.Peers + s.HTTP
	s.Clients = min(left, mostClients)
	if clients > left {
		return Shares{}, fmt.Errorf("max-connections %d does not fit into the limit of open files, which is %d "+
			"(ulimit -n): %d are left for clients, the others are kept for files and other nodes", clients, limit, left)
	}
	if clients > 0 {
		s.Clients = clients
	}
	return s, nil
}

// StrangersOf is how many of most connections may be strangers.
func StrangersOf(most int) int { return min(max(most/4, 1), 1024) }
