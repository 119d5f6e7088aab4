package localfleet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is the part of a node's configuration that these fleets set. Sizes are as in the server's YAML: "16MiB".
type Config struct {
	Name           string              `yaml:"name"`
	Region         string              `yaml:"region"`
	DataDir        string              `yaml:"data-dir"`
	ListenClient   string              `yaml:"listen-client"`
	ListenPeer     string              `yaml:"listen-peer"`
	ListenHTTP     string              `yaml:"listen-http,omitempty"`
	Nodes          map[string]string   `yaml:"nodes,omitempty"`
	Regions        map[string][]string `yaml:"regions,omitempty"`
	InitialPrimary string              `yaml:"initial-primary"`
	Join           bool                `yaml:"join,omitempty"`
	// InitialClusterState is "existing" where nodes with empty directories are no new fleet.
	InitialClusterState string `yaml:"initial-cluster-state,omitempty"`

	MemoryBytes   string              `yaml:"memory-bytes,omitempty"`
	CacheBytes    string              `yaml:"cache-bytes,omitempty"`
	MemTableBytes string              `yaml:"mem-table-bytes,omitempty"`
	SegmentBytes  string              `yaml:"segment-bytes"`
	RetainBytes   string              `yaml:"retain-bytes,omitempty"`
	CompactBytes  string              `yaml:"compact-bytes,omitempty"`
	RegionRate    *RegionRate         `yaml:"region-rate,omitempty"`
	ApplyDelay    string              `yaml:"apply-delay,omitempty"`
	Durability    *Durability         `yaml:"durability,omitempty"`
	Failover      *Failover           `yaml:"failover,omitempty"`
	Witnesses     map[string][]string `yaml:"witnesses,omitempty"`
	// PartialRegionsFile says which partial regions may follow the node.
	PartialRegionsFile string `yaml:"partial-regions-file,omitempty"`
}

// RegionRate holds what goes to other regions to a rate, each as "REGION=RATE".
type RegionRate struct {
	Copy []string `yaml:"copy,omitempty"`
}

// Durability says in which regions writes have to be before they are acknowledged.
type Durability struct {
	Default  string            `yaml:"default,omitempty"`
	Prefixes map[string]string `yaml:"prefixes,omitempty"`
	Timeout  string            `yaml:"timeout,omitempty"`
}

// Failover has the primary move by itself.
type Failover struct {
	Automatic bool   `yaml:"automatic"`
	Lease     string `yaml:"lease,omitempty"`
	Patience  string `yaml:"patience,omitempty"`
	MaxLoss   *int   `yaml:"max-loss,omitempty"`
}

// StopGrace is longer than a node's own bound for a stop in good order.
const StopGrace = 20 * time.Second

// Node is one node, running or not. Its methods are not for concurrent use.
type Node struct {
	Config  Config
	Dir     string   // holds config.yaml, log and, unless Config says otherwise, data
	Command []string // what runs a node, to which "--config FILE" is added
	// Arguments, if set, are all that runs it: it is a witness, and its Config says only what it is called and where.
	Arguments []string

	inbound []*link // to this node
	process *process
}

// Save writes the node's config.yaml, which the next Start uses.
func (n *Node) Save() error {
	text, err := yaml.Marshal(n.Config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(n.ConfigPath(), text, 0o600)
}

// ConfigPath is the file that Save writes.
func (n *Node) ConfigPath() string { return filepath.Join(n.Dir, "config.yaml") }

// LogPath is the file to which the node logs, through all its lives.
func (n *Node) LogPath() string { return filepath.Join(n.Dir, "log") }

// CommandLine is what Start runs.
func (n *Node) CommandLine() []string {
	if n.Arguments != nil {
		return n.Arguments
	}
	return append(slices.Clone(n.Command), "--config", n.ConfigPath())
}

// Start starts the process and returns at once.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("%s runs already", n.Config.Name)
	}
	p, err := startProcess(n.LogPath(), n.CommandLine())
	if err != nil {
		return fmt.Errorf("start %s: %w", n.Config.Name, err)
	}
	n.process = p
	inbound := n.inbound
	go func() {
		<-p.done
		for _, k := range inbound {
			k.suspect()
		}
	}()
	return nil
}

// Running reports whether the process is there.
func (n *Node) Running() bool { return n.process != nil && n.process.running() }

// PID is the id of the process that Start started last, 0 if none was.
func (n *Node) PID() int {
	if n.process == nil {
		return 0
	}
	return n.process.command.Process.Pid
}

// Kill ends the process with kill -9, if it runs, and returns when it is gone.
func (n *Node) Kill() {
	if n.process != nil {
		n.process.kill()
	}
}

// Stop ends the process that Start started last in good order and returns its exit status.
func (n *Node) Stop() int {
	Stop([]*Node{n}, nil)
	return n.ExitStatus()
}

// Stop asks all nodes that run to end, kills those that have not after StopGrace, or at once when hurry is closed, and
// returns when all are gone.
func Stop(nodes []*Node, hurry <-chan struct{}) {
	var running []*process
	for _, n := range nodes {
		if n.Running() {
			running = append(running, n.process)
		}
	}
	stopProcesses(running, StopGrace, hurry)
}

// Ended is closed when the process that Start started last has ended.
func (n *Node) Ended() <-chan struct{} { return n.process.done }

// ExitStatus is that of a process that has ended; -1 if a signal ended it.
func (n *Node) ExitStatus() int { return n.process.command.ProcessState.ExitCode() }

// Exit says how a process ended that has: "exit status 1", "signal: killed".
func (n *Node) Exit() string { return n.process.command.ProcessState.String() }

// logTail is as much of the end of a log as is searched for the last line.
const logTail = 16 << 10

// LastWords is the last line of the node's log, "" if there is none.
func (n *Node) LastWords() string {
	f, err := os.Open(n.LogPath())
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > logTail {
		f.Seek(-logTail, io.SeekEnd)
	}
	last := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			last = text
		}
	}
	return last
}
