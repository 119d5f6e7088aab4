package localfleet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	Memory  string        // memory-bytes of each node; "": none, and caches that fit a fleet on one machine
	Direct  bool          // without links: regions reach each other's nodes where these listen, without delay

	// Witness is what runs a witness, to which its name, address and directory are added; nil: there is none. With one,
	// the primary moves by itself, with Lease and Patience, durations, and MaxLoss, or the default ones.
	Witness         []string
	Lease, Patience string
	MaxLoss         *int

	// Place says where the node of that name is; nil: on free ports, with its data in Dir/NAME/data.
	Place func(node string) (Place, error)
}

// Place is where a node is: addresses as host:port, and a directory.
type Place struct{ Client, Peer, HTTP, DataDir string }

// Fleet is a set of regions with links between them.
type Fleet struct {
	Regions []*Region
	Witness *Node // nil: there is none

	options Options
	ports   *Ports
	links   []boundLink
}

// Region is the nodes of one place.
type Region struct {
	Name  string
	Nodes []*Node

	named int // nodes that there have been
}

// boundLink carries what the nodes of one region send to one node of another, and the answers.
type boundLink struct {
	from, to string // regions; from may be "", for all others
	*link
}

// New lays out a fleet: it writes every node's configuration and opens the links. No node runs yet. The caller closes
// the fleet.
func New(o Options) (f *Fleet, err error) {
	f = &Fleet{ports: AnyPorts()}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if o.Place == nil {
		o.Place = func(node string) (Place, error) { return PlaceOn(f.ports, filepath.Join(o.Dir, node)) }
	}
	f.options = o
	for _, name := range o.Regions {
		r := &Region{Name: name}
		for range o.Nodes {
			n, err := newNode(&o, name, r.nextName())
			if err != nil {
				return nil, err
			}
			r.Nodes = append(r.Nodes, n)
		}
		f.Regions = append(f.Regions, r)
	}
	if o.Witness != nil {
		if err := f.addWitness(&o); err != nil {
			return nil, err
		}
	}
	for _, r := range f.Regions {
		if err := f.introduce(r, &o); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// WitnessName is what the witness of a fleet is called.
const WitnessName = "w1"

// addWitness lays out a witness, and has the nodes vote. All regions reach it where it listens, without delay.
func (f *Fleet) addWitness(o *Options) error {
	p, err := o.Place(WitnessName)
	if err != nil {
		return err
	}
	dir := filepath.Join(o.Dir, WitnessName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f.Witness = &Node{
		Dir: dir, Config: Config{Name: WitnessName, ListenPeer: p.Peer, DataDir: p.DataDir},
		Arguments: append(slices.Clone(o.Witness), "--name", WitnessName, "--listen", p.Peer, "--data-dir", p.DataDir),
	}
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			n.Config.Failover = &Failover{Automatic: true, Lease: o.Lease, Patience: o.Patience, MaxLoss: o.MaxLoss}
			n.Config.Witnesses = map[string][]string{WitnessName: {p.Peer}}
		}
	}
	return nil
}

func (r *Region) nextName() string {
	r.named++
	return r.Name + "-" + strconv.Itoa(r.named)
}

// PlaceOn is a place on the next ports, with its data in dir/data.
func PlaceOn(ports *Ports, dir string) (Place, error) {
	addrs, err := ports.Next(3)
	if err != nil {
		return Place{}, err
	}
	return Place{Client: addrs[0], Peer: addrs[1], HTTP: addrs[2], DataDir: filepath.Join(dir, "data")}, nil
}

func newNode(o *Options, region, name string) (*Node, error) {
	p, err := o.Place(name)
	if err != nil {
		return nil, err
	}
	c := Config{
		Name: name, Region: region, DataDir: p.DataDir, InitialPrimary: o.Regions[0],
		ListenClient: p.Client, ListenPeer: p.Peer, ListenHTTP: p.HTTP,
		CacheBytes: "64MiB", MemTableBytes: "32MiB", SegmentBytes: "16MiB",
	}
	if o.Memory != "" {
		c.MemoryBytes, c.CacheBytes, c.MemTableBytes = o.Memory, "", ""
	}
	return &Node{Dir: filepath.Join(o.Dir, name), Command: o.Command, Config: c}, nil
}

// introduce tells the nodes of r where all the others are, and opens the links to other regions.
func (f *Fleet) introduce(r *Region, o *Options) error {
	regions := map[string][]string{}
	for _, other := range f.Regions {
		if other == r {
			continue
		}
		for _, n := range other.Nodes {
			addr, err := f.reach(r, other, n, o)
			if err != nil {
				return err
			}
			regions[other.Name] = append(regions[other.Name], addr)
		}
	}
	for _, n := range r.Nodes {
		n.Config.Regions = regions
	}
	return r.Save()
}

// reach returns the address at which region from reaches a node of another region.
func (f *Fleet) reach(from, to *Region, n *Node, o *Options) (string, error) {
	if o.Direct {
		return n.Config.ListenPeer, nil
	}
	addrs, err := f.ports.Next(1)
	if err != nil {
		return "", err
	}
	k := newLink(addrs[0], n.Config.ListenPeer, o.Delay)
	f.links = append(f.links, boundLink{from.Name, to.Name, k})
	n.inbound = append(n.inbound, k)
	return k.addr, nil
}

// Shared returns addresses at which all other regions can be told to reach the nodes of r, over a link to each node
// that they share: what is between r and any one of them happens to it too. It opens the links the first time.
func (f *Fleet) Shared(r *Region) (addrs []string, err error) {
	for _, n := range r.Nodes {
		addr := ""
		for _, k := range f.links {
			if k.from == "" && k.aimedAt() == n.Config.ListenPeer {
				addr = k.addr
			}
		}
		if addr == "" {
			if addr, err = f.reach(&Region{}, r, n, &f.options); err != nil {
				return nil, err
			}
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// Region returns the region of that name.
func (f *Fleet) Region(name string) *Region {
	for _, r := range f.Regions {
		if r.Name == name {
			return r
		}
	}
	panic(fmt.Sprintf("localfleet: no region %q", name))
}

// Nodes returns the nodes of all regions.
func (f *Fleet) Nodes() []*Node {
	var all []*Node
	for _, r := range f.Regions {
		all = append(all, r.Nodes...)
	}
	return all
}

// Cut silences every link between two regions, in both directions.
func (f *Fleet) Cut(a, b string) { f.between(a, b, (*link).cut) }

// Heal undoes Cut: what was held back arrives.
func (f *Fleet) Heal(a, b string) { f.between(a, b, (*link).heal) }

// Lose drops what is on its way between two regions and breaks the connections, as if the machines that send it were
// gone. It leaves a cut link cut.
func (f *Fleet) Lose(a, b string) { f.between(a, b, (*link).lose) }

// answerBytes is more than the beginning of a connection, and less than what a node says of itself.
const answerBytes = 512

// Unanswered says over which link nobody was answered yet, "" if there is none. A node that was not heard over its link
// may be asked where it says itself that it is, which is around the link: until it is heard over it.
func (f *Fleet) Unanswered() string {
	for _, k := range f.links {
		if k.answered.Load() < answerBytes {
			return fmt.Sprintf("region %s has not heard all nodes of region %s yet", k.from, k.to)
		}
	}
	return ""
}

// Connections is how many there were between regions, all together.
func (f *Fleet) Connections() (count int64) {
	for _, k := range f.links {
		count += k.carried.Load()
	}
	return count
}

// Answered is how many bytes came over the links from the nodes that were called, all together.
func (f *Fleet) Answered() (count int64) {
	for _, k := range f.links {
		count += k.answered.Load()
	}
	return count
}

func (f *Fleet) between(a, b string, do func(*link)) {
	for _, k := range f.links {
		shared := k.from == "" && (k.to == a || k.to == b)
		if k.from == a && k.to == b || k.from == b && k.to == a || shared {
			do(k.link)
		}
	}
}

// Close kills every node, closes the links and gives the ports back.
func (f *Fleet) Close() {
	Kill(f.Nodes())
	for _, k := range f.links {
		k.close()
	}
	f.ports.Close()
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
