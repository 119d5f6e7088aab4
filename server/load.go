package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// ErrConfig says that the configuration is wrong. The message is one line that names the key, or file and line, and
// the refused value.
var ErrConfig = errors.New("configuration")

// Load reads the file (none if empty), then the environment, then the flags that were set, fills defaults and validates.
// All errors are ErrConfig.
func Load(file string, lookupEnv func(string) (string, bool), flags *pflag.FlagSet) (*Config, error) {
	c := DefaultConfig()
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		if err := decode(file, text, &c); err != nil {
			return nil, err
		}
	}
	for _, s := range settings {
		if text, ok := lookupEnv(s.env()); ok {
			if err := s.field(&c).Set(text); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrConfig, s.env(), err)
			}
		}
	}
	for _, s := range settings {
		if flags == nil {
			break
		}
		if f := flags.Lookup(s.key); f != nil && f.Changed {
			if err := s.field(&c).Set(f.Value.String()); err != nil {
				return nil, fmt.Errorf("%w: --%s: %w", ErrConfig, s.key, err)
			}
		}
	}
	c.complete()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

func decode(file string, text []byte, c *Config) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(c)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	complaints := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		complaints = wrong.Errors
	}
	for i, text := range complaints {
		complaints[i] = explain(file, text)
	}
	return fmt.Errorf("%w: %s", ErrConfig, strings.Join(complaints, "; "))
}

var (
	atLine       = regexp.MustCompile(`^line (\d+): (.*)$`)
	unknownField = regexp.MustCompile(`^field (\S+) not found in type`)
)

// explain turns a complaint of the YAML decoder into file:line: and the key.
func explain(file, text string) string {
	m := atLine.FindStringSubmatch(strings.ReplaceAll(text, "\n", " "))
	if m == nil {
		return file + ": " + text
	}
	line, what := m[1], m[2]
	if f := unknownField.FindStringSubmatch(what); f != nil {
		what = fmt.Sprintf("unknown key %q", f[1])
		if near := nearest(f[1]); near != "" {
			what += fmt.Sprintf(" (did you mean %q?)", near)
		}
	}
	return file + ":" + line + ": " + what
}

// nearest returns the known key within two edits of word, "" if there is none.
func nearest(word string) string {
	best, bestDistance := "", 3
	for _, known := range []string{"client-tls", "peer-tls", "region-tls", "cert", "key", "ca", "require-client-cert"} {
		if d := distance(word, known); d < bestDistance {
			best, bestDistance = known, d
		}
	}
	for _, s := range settings {
		if d := distance(word, s.key); d < bestDistance {
			best, bestDistance = s.key, d
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
