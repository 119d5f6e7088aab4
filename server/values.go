package server

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bytes is a size that is written as a plain number or with a unit: 1536KiB, 64MiB, 8GiB.
type Bytes int64

var byteUnits = []struct {
	suffix string
	factor int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// Set parses s.
func (b *Bytes) Set(s string) error {
	number, factor := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is not a size such as 1536KiB, 64MiB or 8GiB", s)
	}
	*b = Bytes(n * factor)
	return nil
}

// String returns the size with the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.factor == 0 && u.factor > 1 {
			return strconv.FormatInt(int64(b)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Type names the value in flag help.
func (*Bytes) Type() string { return "size" }

// UnmarshalYAML parses a scalar.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	if err := b.Set(n.Value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// MarshalYAML writes the size with its unit.
func (b Bytes) MarshalYAML() (any, error) { return b.String(), nil }

// value adapts one field of a Config to pflag.Value.
type value struct {
	set  func(string) error
	get  func() string
	kind string
}

func (v value) Set(s string) error { return v.set(s) }
func (v value) String() string     { return v.get() }
func (v value) Type() string       { return v.kind }

func stringValue(p *string) value {
	return value{func(s string) error { *p = s; return nil }, func() string { return *p }, "string"}
}

func boolValue(p *bool) value {
	return value{func(s string) error {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*p = b
		return nil
	}, func() string { return strconv.FormatBool(*p) }, "bool"}
}

func intValue(p *int) value {
	return value{func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", s)
		}
		*p = n
		return nil
	}, func() string { return strconv.Itoa(*p) }, "int"}
}

func durationValue(p *time.Duration) value {
	return value{func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 100ms or 10s", s)
		}
		*p = d
		return nil
	}, func() string { return p.String() }, "duration"}
}

func bytesValue(p *Bytes) value { return value{p.Set, func() string { return p.String() }, "size"} }

// nodesValue reads name=host:port,name=host:port.
func nodesValue(p *map[string]string) value {
	return value{func(s string) error {
		nodes := map[string]string{}
		for _, pair := range split(s) {
			name, addr, ok := strings.Cut(pair, "=")
			if _, twice := nodes[name]; !ok || twice {
				return fmt.Errorf("%q: want name=host:port, each name once", pair)
			}
			nodes[name] = addr
		}
		*p = nodes
		return nil
	}, func() string {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(*p)) {
			pairs = append(pairs, name+"="+(*p)[name])
		}
		return strings.Join(pairs, ",")
	}, "name=addr,…"}
}

// regionsValue reads region=host:port,region=host:port; a region with several nodes is named several times.
func regionsValue(p *map[string][]string) value {
	return value{func(s string) error {
		regions := map[string][]string{}
		for _, pair := range split(s) {
			name, addr, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("%q: want region=host:port", pair)
			}
			regions[name] = append(regions[name], addr)
		}
		*p = regions
		return nil
	}, func() string {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(*p)) {
			for _, addr := range (*p)[name] {
				pairs = append(pairs, name+"="+addr)
			}
		}
		return strings.Join(pairs, ",")
	}, "region=addr,…"}
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
