package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fleet is what fleet.json holds. Addresses are host:port.
type Fleet struct {
	Regions []Region `json:"regions"`
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

// The first node gets firstPort and the two above it, the next one starts portStep higher, and so on, skipping ports that are
// taken. They lie below the range from which systems choose ports by themselves, so they stay free between runs.
const (
	firstPort = 2379
	portStep  = 10
	lastPort  = 30000
)

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
	if err := json.Unmarshal(text, f); err != nil || len(f.Regions) == 0 {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, fleetFile), err)
	}
	return f, nil
}

// check refuses to go on with a fleet of another shape.
func (f *Fleet) check(o *Options) error {
	nodes := len(f.Regions[0].Nodes)
	if (o.Regions != nil && !slices.Equal(o.Regions, f.names())) || (o.Nodes != 0 && o.Nodes != nodes) {
		return fmt.Errorf("%s holds a fleet of the regions %s with %d nodes each; leave out --regions and --nodes to go on with it, or choose another --data-dir",
			o.Dir, strings.Join(f.names(), ","), nodes)
	}
	return nil
}

// create lays out a new fleet on free ports.
func create(o *Options) (*Fleet, error) {
	regions, nodes := o.Regions, o.Nodes
	if regions == nil {
		regions = DefaultRegions
	}
	if nodes == 0 {
		nodes = DefaultNodes
	}
	f, port := &Fleet{}, firstPort
	for _, name := range regions {
		r := Region{Name: name}
		for i := range nodes {
			addrs, err := freePorts(&port)
			if err != nil {
				return nil, err
			}
			node := name + "-" + strconv.Itoa(i+1)
			r.Nodes = append(r.Nodes, Node{
				Name: node, Client: addrs[0], Peer: addrs[1], HTTP: addrs[2], DataDir: filepath.Join(o.Dir, node, "data"),
			})
		}
		f.Regions = append(f.Regions, r)
	}
	return f, nil
}

// freePorts returns three addresses from *port on and moves *port past them.
func freePorts(port *int) ([3]string, error) {
	for ; *port < lastPort; *port += portStep {
		var addrs [3]string
		free := true
		for i := range addrs {
			addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(*port+i))
			l, err := net.Listen("tcp", addrs[i])
			if free = free && err == nil; err == nil {
				l.Close()
			}
		}
		if free {
			*port += portStep
			return addrs, nil
		}
	}
	return [3]string{}, errors.New("no free ports on 127.0.0.1")
}

// save writes fleet.json so that a reader sees either the old or the new one.
func (f *Fleet) save(dir string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fleetFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// nodeConfig is the part of server.Config that a fleet on one machine sets. Sizes suit many nodes on a small machine.
type nodeConfig struct {
	Name           string              `yaml:"name"`
	Region         string              `yaml:"region"`
	DataDir        string              `yaml:"data-dir"`
	ListenClient   string              `yaml:"listen-client"`
	ListenPeer     string              `yaml:"listen-peer"`
	ListenHTTP     string              `yaml:"listen-http"`
	Nodes          map[string]string   `yaml:"nodes"`
	Regions        map[string][]string `yaml:"regions,omitempty"`
	InitialPrimary string              `yaml:"initial-primary"`
	CacheBytes     string              `yaml:"cache-bytes"`
	MemTableBytes  string              `yaml:"mem-table-bytes"`
	SegmentBytes   string              `yaml:"segment-bytes"`
}

func (o *Options) configPath(n *Node) string { return filepath.Join(o.Dir, n.Name, "config.yaml") }
func (o *Options) logPath(n *Node) string    { return filepath.Join(o.Dir, n.Name, "log") }

// writeConfig writes a node's config.yaml. reach gives the address at which the node's region reaches a node of another one.
func (o *Options) writeConfig(f *Fleet, r *Region, n *Node, reach func(from, to string) string) error {
	c := nodeConfig{
		Name: n.Name, Region: r.Name, DataDir: n.DataDir, ListenClient: n.Client, ListenPeer: n.Peer, ListenHTTP: n.HTTP,
		Nodes: map[string]string{}, Regions: map[string][]string{}, InitialPrimary: f.Regions[0].Name,
		CacheBytes: "64MiB", MemTableBytes: "32MiB", SegmentBytes: "16MiB",
	}
	for _, other := range f.Regions {
		for _, peer := range other.Nodes {
			if other.Name == r.Name {
				c.Nodes[peer.Name] = peer.Peer
			} else {
				c.Regions[other.Name] = append(c.Regions[other.Name], reach(r.Name, peer.Peer))
			}
		}
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	path := o.configPath(n)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
