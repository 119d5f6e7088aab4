package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Options of a fleet.
type Options struct {
	Dir     string        // where everything is kept
	Command []string      // what runs a node, to which "--config FILE" is added
	Regions []string      // names; the first one is the initial primary
	Nodes   int           // of each region
	Delay   time.Duration // one way, between regions
}

// Fleet is a set of regions with links between them.
type Fleet struct {
	Regions []*Region

	links []boundLink
}

// Region is the nodes of one place.
type Region struct {
	Name  string
	Nodes []*Node
}

// boundLink carries what the nodes of one region send to one node of another, and the answers.
type boundLink struct {
	from, to string // regions
	*link
}

// New lays out a fleet on free ports of 127.0.0.1 and opens its links. No node runs yet. The caller closes it.
func New(o Options) (*Fleet, error) {
	ports, err := FreePorts(len(o.Regions) * o.Nodes * portsPerNode)
	if err != nil {
		return nil, err
	}
	f := &Fleet{}
	for _, name := range o.Regions {
		r := &Region{Name: name}
		for i := range o.Nodes {
			r.Nodes = append(r.Nodes, newNode(&o, name, name+"-"+strconv.Itoa(i+1), ports))
			ports = ports[portsPerNode:]
		}
		f.Regions = append(f.Regions, r)
	}
	for _, r := range f.Regions {
		if err := f.introduce(r, o.Delay); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

func newNode(o *Options, region, name string, ports []string) *Node {
	dir := filepath.Join(o.Dir, name)
	return &Node{Dir: dir, Command: o.Command, Config: Config{
		Name: name, Region: region, DataDir: filepath.Join(dir, "data"), InitialPrimary: o.Regions[0],
		ListenClient: ports[0], ListenPeer: ports[1], ListenHTTP: ports[2], CacheBytes: "64MiB", MemTableBytes: "32MiB", SegmentBytes: "16MiB",
	}}
}

// introduce tells the nodes of r where all the others are, and opens the links to other regions.
func (f *Fleet) introduce(r *Region, delay time.Duration) error {
	nodes, regions := map[string]string{}, map[string][]string{}
	for _, other := range f.Regions {
		for _, n := range other.Nodes {
			if other == r {
				nodes[n.Config.Name] = n.Config.ListenPeer
				continue
			}
			k, err := newLink(n.Config.ListenPeer, delay)
			if err != nil {
				return err
			}
			f.links = append(f.links, boundLink{r.Name, other.Name, k})
			regions[other.Name] = append(regions[other.Name], k.addr())
		}
	}
	for _, n := range r.Nodes {
		n.Config.Nodes, n.Config.Regions = nodes, regions
		if err := n.Save(); err != nil {
			return err
		}
	}
	return nil
}

// Ports are taken from below the range from which systems choose by themselves, so that they stay free while a node is down.
const (
	lowestPort  = 10_000
	highestPort = 30_000
	portTries   = 200

	portsPerNode = 3
)

// FreePorts returns addresses of 127.0.0.1 with successive ports on which nobody listens.
func FreePorts(count int) ([]string, error) {
	for range portTries {
		first := lowestPort + rand.IntN(highestPort-lowestPort-count)
		var addrs []string
		for i := range count {
			addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+i))
			l, err := net.Listen("tcp", addr)
			if err != nil {
				break
			}
			l.Close()
			addrs = append(addrs, addr)
		}
		if len(addrs) == count {
			return addrs, nil
		}
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

// Region returns the region of that name.
func (f *Fleet) Region(name string) *Region {
	for _, r := range f.Regions {
		if r.Name == name {
			return r
		}
	}
	panic(fmt.Sprintf("fleet: no region %q", name))
}

// Nodes returns the nodes of all regions.
func (f *Fleet) Nodes() []*Node {
	var all []*Node
	for _, r := range f.Regions {
		all = append(all, r.Nodes...)
	}
	return all
}

// Start starts every node that does not run.
func Start(nodes []*Node) error {
	for _, n := range nodes {
		if n.Running() {
			continue
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Kill kills nodes at once.
func Kill(nodes []*Node) {
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(n.Kill)
	}
	all.Wait()
}

// Clients returns the client addresses of nodes.
func Clients(nodes []*Node) []string {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Config.ListenClient)
	}
	return addrs
}

// Cut silences every link between two regions, in both directions.
func (f *Fleet) Cut(a, b string) { f.between(a, b, (*link).cut) }

// Heal undoes Cut: what was held back arrives.
func (f *Fleet) Heal(a, b string) { f.between(a, b, (*link).heal) }

// Lose drops what is on its way between two regions and breaks the connections, as if the machines that send it were gone. It leaves a
// cut link cut.
func (f *Fleet) Lose(a, b string) { f.between(a, b, (*link).lose) }

func (f *Fleet) between(a, b string, do func(*link)) {
	for _, k := range f.links {
		if k.from == a && k.to == b || k.from == b && k.to == a {
			do(k.link)
		}
	}
}

// Close kills every node and closes the links.
func (f *Fleet) Close() {
	Kill(f.Nodes())
	for _, k := range f.links {
		k.close()
	}
}
