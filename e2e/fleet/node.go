package fleet

import (
	"fmt"
	"os"
	"path/filepath"
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
	CacheBytes     string              `yaml:"cache-bytes"`
	MemTableBytes  string              `yaml:"mem-table-bytes"`
	SegmentBytes   string              `yaml:"segment-bytes"`
	RetainBytes    string              `yaml:"retain-bytes,omitempty"`
}

// stopGrace is longer than a node's own bound for a stop in good order.
const stopGrace = 20 * time.Second

// Node is one node, running or not. Its methods are not for concurrent use.
type Node struct {
	Config  Config
	Dir     string   // holds config.yaml, log and, unless Config says otherwise, data
	Command []string // what runs a node, to which "--config FILE" is added

	process *process
}

// Save writes the node's config.yaml, which the next Start uses.
func (n *Node) Save() error {
	text, err := yaml.Marshal(n.Config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(n.configPath(), text, 0o644)
}

func (n *Node) configPath() string { return filepath.Join(n.Dir, "config.yaml") }

// LogPath is the file to which the node logs, through all its lives.
func (n *Node) LogPath() string { return filepath.Join(n.Dir, "log") }

// Start starts the process and returns at once.
func (n *Node) Start() (err error) {
	if n.Running() {
		return fmt.Errorf("%s runs already", n.Config.Name)
	}
	n.process, err = startProcess(n.LogPath(), append(append([]string(nil), n.Command...), "--config", n.configPath()))
	return err
}

// Running reports whether the process is there.
func (n *Node) Running() bool { return n.process != nil && n.process.running() }

// Kill ends the process with kill -9, if it runs, and returns when it is gone.
func (n *Node) Kill() {
	if n.process != nil {
		n.process.kill()
	}
}

// Stop ends the process in good order and returns its exit status.
func (n *Node) Stop() int { return n.process.stop(stopGrace) }

// Ended is closed when the process that Start started last has ended.
func (n *Node) Ended() <-chan struct{} { return n.process.done }

// ExitStatus is that of a process that has ended; -1 if a signal ended it.
func (n *Node) ExitStatus() int { return n.process.command.ProcessState.ExitCode() }
