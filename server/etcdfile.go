package server

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// etcdFileFlag names the file of etcd's settings.
const etcdFileFlag = "config-file"

// clientCN is in the place of a flag that etcd does not have: of clients it reads allowed common names in its file
// alone.
const clientCN = "client-transport-security.allowed-cn"

// etcdBlocks are the blocks of etcd's file, with the flag that says the same as each of their keys.
var etcdBlocks = map[string]map[string]string{
	"client-transport-security": {
		"cert-file": "cert-file", "key-file": "key-file", "client-cert-file": "client-cert-file",
		"client-key-file": "client-key-file", "client-cert-auth": "client-cert-auth",
		"trusted-ca-file": "trusted-ca-file", "auto-tls": "auto-tls", "allowed-cn": clientCN,
		"allowed-hostname": "client-cert-allowed-hostname",
		// Of clients etcd reads it, and goes by it nowhere.
		"skip-client-san-verification": "peer-skip-client-san-verification",
	},
	"peer-transport-security": {
		"cert-file": "peer-cert-file", "key-file": "peer-key-file", "client-cert-file": "peer-client-cert-file",
		"client-key-file": "peer-client-key-file", "client-cert-auth": "peer-client-cert-auth",
		"trusted-ca-file": "peer-trusted-ca-file", "auto-tls": "peer-auto-tls", "allowed-cn": "peer-cert-allowed-cn",
		"allowed-hostname":             "peer-cert-allowed-hostname",
		"skip-client-san-verification": "peer-skip-client-san-verification",
	},
	"socket-options": {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"},
}

// etcdDurations are flags for durations: in a file etcd reads them as nanoseconds.
var etcdDurations = []string{
	"backend-batch-interval", "compact-hash-check-time", "compaction-sleep-interval", "corrupt-check-time",
	"downgrade-check-time", "grpc-keepalive-interval", "grpc-keepalive-min-time", "grpc-keepalive-timeout",
	"warning-apply-duration", "warning-unary-request-duration", "watch-progress-notify-interval",
}

// etcdKey is what a key of etcd's file says.
type etcdKey struct {
	path, text string
	line       int
}

// etcdFile returns the name of etcd's file, "" if there is none. Where Mimir has a file, only a flag names another.
func etcdFile(own string, lookup func(string) (string, bool), flags *pflag.FlagSet) string {
	if flags != nil {
		if f := flags.Lookup(etcdFileFlag); f != nil && f.Changed {
			return f.Value.String()
		}
	}
	if own != "" {
		return ""
	}
	name, _ := lookup((&etcdFlag{name: etcdFileFlag}).env())
	return name
}

// etcdBeside says why what is said beside the file does not count.
const etcdBeside = "nothing of etcd's counts beside a file of its settings, there as here"

// readFile takes what etcd's file says, as if flags did. Whatever is said to Mimir counts for more.
func (e *etcdGiven) readFile(c *Config, file string, lookup func(string) (string, bool)) (wrong faults) {
	e.file = file
	text, err := os.ReadFile(file)
	if err != nil {
		wrong.addError(err)
		return wrong
	}
	said, wrong := etcdKeys(file, text, func(key string) { e.note(key, "etcd has no such setting in its file") })
	for i := range etcdFlags { // in this order some go on with what others said
		f := &etcdFlags[i]
		if variable, set := lookup(f.env()); set && variable != "" && f.name != etcdFileFlag && f.name != "version" {
			e.note(f.env(), etcdBeside)
		}
		key, is := said[f.name]
		if !is {
			continue
		}
		if err := e.take(f, c, key.text); err != nil {
			wrong.add("%s:%d: %s: %w", file, key.line, key.path, err)
			continue
		}
		if f.same {
			c.from(f.name, file)
		}
		for _, k := range f.keys {
			c.from(k, file)
		}
	}
	return wrong
}

// etcdKeys returns what a file says, by the flag that says the same. What is empty is not said, and keys may have
// capitals, as for etcd; unknown is told of keys that are of no flag, in their order.
func etcdKeys(file string, text []byte, unknown func(key string)) (said map[string]etcdKey, wrong faults) {
	said = map[string]etcdKey{}
	var document map[string]yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		wrong.add("%s", place(file, oneLine(err.Error())))
		return said, wrong
	}
	take := func(name, path string, n *yaml.Node) {
		text, err := etcdText(name, n)
		if err != nil {
			wrong.add("%s:%d: %s: %w", file, n.Line, path, err)
		} else if text != "" {
			said[name] = etcdKey{path, text, n.Line}
		}
	}
	for _, written := range slices.Sorted(maps.Keys(document)) { // the last one counts that says the same
		n, key := document[written], strings.ToLower(written)
		block, isBlock := etcdBlocks[key]
		switch in := etcdBlockOf(key); {
		case isBlock:
			var keys map[string]yaml.Node
			if err := n.Decode(&keys); err != nil {
				wrong.add("%s:%d: %s: want a block of keys", file, n.Line, key)
			}
			for _, inner := range slices.Sorted(maps.Keys(keys)) {
				if n, flag := keys[inner], block[strings.ToLower(inner)]; flag == "" {
					wrong.add("%s:%d: %s has no key %q", file, n.Line, key, inner)
				} else {
					take(flag, key+"."+inner, &n)
				}
			}
		case key == "discovery-config" && n.Kind == yaml.MappingNode:
			wrong.add("%s:%d: %s: no such thing here: %s", file, n.Line, key, noDiscovery)
		case in != "" && !empty(&n):
			wrong.add("%s:%d: %s: etcd reads it in %s, and passes over it here", file, n.Line, key, in)
		case key != etcdFileFlag && etcdFlagOf(key) != nil:
			take(key, key, &n)
		default:
			unknown(written)
		}
	}
	return said, wrong
}

// etcdFlagOf returns the flag of a name, nil if there is none.
func etcdFlagOf(name string) *etcdFlag {
	if i := slices.IndexFunc(etcdFlags, func(f etcdFlag) bool { return f.name == name }); i >= 0 {
		return &etcdFlags[i]
	}
	return nil
}

// etcdBlockOf returns the block in which a flag has its key, "" if it has one of its own.
func etcdBlockOf(name string) string {
	for _, block := range slices.Sorted(maps.Keys(etcdBlocks)) {
		for _, flag := range etcdBlocks[block] {
			if flag == name {
				return block
			}
		}
	}
	return ""
}

func empty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == "")
}

// etcdText returns what n says as the flag would be given it, "" if it says nothing.
func etcdText(name string, n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case empty(n):
		return "", nil
	case n.Kind == yaml.SequenceNode:
		var list []string
		if n.Decode(&list) == nil {
			return strings.Join(list, ","), nil
		}
	case n.Kind == yaml.ScalarNode:
		var yes bool
		if etcdFlagOf(name).bool && n.Decode(&yes) == nil { // also as YAML 1.1 says it, which etcd reads: yes, off
			return strconv.FormatBool(yes), nil
		}
		if _, err := strconv.ParseUint(n.Value, 10, 63); err == nil && slices.Contains(etcdDurations, name) {
			return n.Value + "ns", nil
		}
		return n.Value, nil
	}
	return "", errors.New("want a value, or a list of them")
}
