package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// ErrConfig says that the configuration is wrong. The message is one line that names the key, or file and line, and
// the refused value.
var ErrConfig = errors.New("configuration")

// Load reads the file (none if empty), else one of etcd's if a flag or a variable names it, else the variables of etcd;
// then the environment, then the flags that were set, fills defaults and validates. All errors are ErrConfig.
func Load(file string, lookupEnv func(string) (string, bool), flags *pflag.FlagSet) (*Config, error) {
	c, wrong := load(file, lookupEnv, flags)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return c, nil
}

// load is Load that goes on, and returns everything that is wrong.
func load(file string, lookupEnv func(string) (string, bool), flags *pflag.FlagSet) (*Config, faults) {
	c := DefaultConfig()
	etcd := etcdGiven{values: map[string]string{}, schemes: map[string]string{}}
	var wrong faults
	theirs := etcdFile(file, lookupEnv, flags)
	switch {
	case file != "" && theirs != "":
		wrong.add("--config and --%s both name a file of settings: give one of them", etcdFileFlag)
		return &c, wrong
	case theirs != "":
		wrong = etcd.readFile(&c, theirs, lookupEnv)
	case file == "": // a node of Mimir's own settings is not changed by what was left in its environment for etcd
		wrong = etcd.environment(&c, lookupEnv)
	default:
		text, err := os.ReadFile(file)
		if err != nil {
			wrong.addError(err)
			return &c, wrong
		}
		if err := decode(file, text, &c); err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, s := range settings {
		if text, ok := lookupEnv(s.env()); ok {
			if err := s.set(&c, text); err != nil {
				wrong.add("%s: %w", s.env(), err)
			}
			c.from(s.key, s.env())
		}
		if flags == nil {
			continue
		}
		if f := flags.Lookup(s.name()); f != nil && f.Changed {
			if err := s.set(&c, f.Value.String()); err != nil {
				wrong.add("--%s: %w", s.name(), err)
			}
			c.from(s.key, "--"+s.name())
		}
	}
	if flags != nil {
		wrong = append(wrong, etcd.flags(&c, flags)...)
	}
	wrong.addError(etcd.finish(&c))
	c.complete()
	return &c, append(wrong, c.faults()...)
}

// decode reads the one document of a file into c.
func decode(file string, text []byte, c *Config) error {
	var document yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	err := documents.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil
	} else if err == nil {
		err = last(documents)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", ErrConfig, place(file, oneLine(err.Error())))
	}
	d := decoder{config: c, file: file}
	d.mapping("", &document)
	if len(d.complaints) == 0 {
		return nil
	}
	for i, text := range d.complaints {
		d.complaints[i] = place(file, oneLine(text))
	}
	return fmt.Errorf("%w: %s", ErrConfig, strings.Join(d.complaints, "; "))
}

// last finds that something comes behind a document, which nobody would read.
func last(documents *yaml.Decoder) error {
	for {
		var next yaml.Node
		if err := documents.Decode(&next); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(next.Content) > 0 && next.Content[0].Tag != "!!null" {
			return fmt.Errorf("line %d: a second document begins here, which would not be read: take the --- away",
				next.Content[0].Line)
		}
	}
}

// decoder fills a Config from YAML, and gathers what is wrong.
type decoder struct {
	config     *Config
	file       string
	complaints []string // beginning with "line N: "
}

// mapping reads the keys of n, which are nested under prefix.
func (d *decoder) mapping(prefix string, n *yaml.Node) {
	var values map[string]yaml.Node
	if err := n.Decode(&values); err != nil {
		d.complain(err)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		full := prefix + key
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == full })
		switch {
		case i >= 0:
			if err := settings[i].read(d.config, &value); err != nil {
				d.complain(err)
			}
			d.config.from(full, d.file)
		case slices.ContainsFunc(settings, func(s setting) bool { return strings.HasPrefix(s.key, full+".") }):
			d.mapping(full+".", &value)
		default:
			d.unknown(key, lineOf(n, key, value.Line))
		}
	}
}

func (d *decoder) complain(err error) {
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		d.complaints = append(d.complaints, wrong.Errors...)
		return
	}
	d.complaints = append(d.complaints, err.Error())
}

func (d *decoder) unknown(key string, line int) {
	text := fmt.Sprintf("line %d: unknown key %q", line, key)
	if near := nearest(key); near != "" {
		text += fmt.Sprintf(" (did you mean %q?)", near)
	}
	if etcdFlagOf(key) != nil || etcdBlocks[key] != nil {
		text += fmt.Sprintf("; a file of etcd's is named by --%s", etcdFileFlag)
	}
	d.complaints = append(d.complaints, text)
}

// lineOf returns the line of key in n, and otherwise if it comes from somewhere else.
func lineOf(n *yaml.Node, key string, otherwise int) int {
	for n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i].Line
			}
		}
	}
	return otherwise
}

var atLine = regexp.MustCompile(`^line (\d+): (.*)$`)

// place turns "line N: what" into file:N: what.
func place(file, text string) string {
	if m := atLine.FindStringSubmatch(text); m != nil {
		return file + ":" + m[1] + ": " + m[2]
	}
	return file + ": " + text
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(text, "yaml: ")), " ")
}

// nearest returns the known key within two edits of word, "" if there is none.
func nearest(word string) string {
	best, bestDistance := "", 3
	for _, s := range settings {
		for _, known := range append(strings.Split(s.key, "."), s.key) {
			if d := distance(word, known); d < bestDistance {
				best, bestDistance = known, d
			}
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
