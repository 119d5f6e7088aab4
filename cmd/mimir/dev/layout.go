package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

// Fleet is what fleet.json holds. Addresses are host:port.
type Fleet struct {
	Regions []Region `json:"regions"`
	Witness *Node    `json:"witness,omitempty"`
}

// Region is one region; the first one of a fleet is its initial primary.
type Region struct {
	Name  string `json:"name"`
	Nodes []Node `json:"nodes"`
}

// Node is one process.
type Node struct {
	Name    string `json:"name"`
	Client  string `json:"client"`
	Peer    string `json:"peer"`
	HTTP    string `json:"http"`
	PID     int    `json:"pid"`
	DataDir string `json:"dataDir"`
}

const fleetFile = "fleet.json"

// firstPort is etcd's: the first node gets it, and with it every client's and command's default endpoint.
const firstPort = 2379

// names returns the names of the fleet's regions.
func (f *Fleet) names() []string {
	var names []string
	for _, r := range f.Regions {
		names = append(names, r.Name)
	}
	return names
}

// load reads the fleet of an earlier run, nil if there was none.
func load(dir string) (*Fleet, error) {
	text, err := os.ReadFile(filepath.Join(dir, fleetFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	f := &Fleet{}
	if err = json.Unmarshal(text, f); err == nil && len(f.Regions) == 0 {
		err = errors.New("it has no regions")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, fleetFile), err)
	}
	return f, nil
}

// HasWitness reports whether the fleet of an earlier run in dir has a witness.
func HasWitness(dir string) bool {
	f, err := load(dir)
	return err == nil && f != nil && f.Witness != nil
}

// Names are what there is of a kind in the fleet of the last run in dir; none if there was none.
func Names(dir string, kind Kind) (names []string) {
	f, err := load(dir)
	if err != nil || f == nil {
		return nil
	}
	switch kind {
	case KindRegion:
		return f.names()
	case KindLink:
		for _, pair := range pairsOf(f.names()) {
			names = append(names, pair[0]+"-"+pair[1])
		}
	case KindNode:
		for _, r := range f.Regions {
			for _, n := range r.Nodes {
				names = append(names, n.Name)
			}
		}
		if f.Witness != nil {
			names = append(names, f.Witness.Name)
		}
	}
	return names
}

// check refuses to go on with a fleet of another shape.
func (f *Fleet) check(o *Options) error {
	nodes := len(f.Regions[0].Nodes)
	if o.Witness != nil && f.Witness == nil {
		return fmt.Errorf("%s holds a fleet without a witness; choose another --data-dir, or see mimir fleet enable",
			o.Dir)
	}
	if (o.Regions != nil && !slices.Equal(o.Regions, f.names())) || (o.Nodes != 0 && o.Nodes != nodes) {
		return fmt.Errorf("%s holds a fleet of the regions %s with %d nodes each; "+
			"leave out --regions and --nodes to go on with it, or choose another --data-dir", o.Dir,
			strings.Join(f.names(), ","), nodes)
	}
	return nil
}

// layOut writes the configuration of every node and opens the links between them: those of an earlier run, or of a new
// fleet if saved is nil.
func (o *Options) layOut(saved *Fleet, ports *localfleet.Ports) (*localfleet.Fleet, error) {
	want := localfleet.Options{
		Dir: o.Dir, Command: o.Serve, Witness: o.Witness, Regions: o.Regions, Nodes: o.Nodes, Delay: o.WANDelay,
	}
	if saved != nil {
		if saved.Witness == nil {
			want.Witness = nil
		}
		want.Regions, want.Nodes, want.Place = saved.names(), len(saved.Regions[0].Nodes), saved.place
		return localfleet.New(want)
	}
	if want.Regions == nil {
		want.Regions = DefaultRegions
	}
	if want.Nodes == 0 {
		want.Nodes = DefaultNodes
	}
	want.Place = func(node string) (localfleet.Place, error) {
		return localfleet.PlaceOn(ports, filepath.Join(o.Dir, node))
	}
	return localfleet.New(want)
}

// place returns where a node was in an earlier run.
func (f *Fleet) place(node string) (localfleet.Place, error) {
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			if n.Name == node {
				return localfleet.Place{Client: n.Client, Peer: n.Peer, HTTP: n.HTTP, DataDir: n.DataDir}, nil
			}
		}
	}
	if w := f.Witness; w != nil && w.Name == node {
		return localfleet.Place{Peer: w.Peer, DataDir: w.DataDir}, nil
	}
	return localfleet.Place{}, fmt.Errorf("%s is damaged: it has no node %s", fleetFile, node)
}

// Describe returns what fleet.json says of a fleet.
func Describe(f *localfleet.Fleet) *Fleet {
	d := &Fleet{}
	for _, r := range f.Regions {
		region := Region{Name: r.Name}
		for _, n := range r.Nodes {
			c := &n.Config
			region.Nodes = append(region.Nodes, Node{
				Name: c.Name, Client: c.ListenClient, Peer: c.ListenPeer, HTTP: c.ListenHTTP,
				PID: n.PID(), DataDir: c.DataDir,
			})
		}
		d.Regions = append(d.Regions, region)
	}
	if w := f.Witness; w != nil {
		d.Witness = &Node{Name: w.Config.Name, Peer: w.Config.ListenPeer, PID: w.PID(), DataDir: w.Config.DataDir}
	}
	return d
}

// save writes fleet.json so that a reader sees either the old or the new one.
func (f *Fleet) save(dir string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fleetFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
