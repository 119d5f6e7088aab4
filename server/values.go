package server

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// form is how values of a type are written on the command line and in the environment.
type form[T any] struct {
	parse  func(string) (T, error)
	format func(T) string
}

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

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return b, nil
}

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 100ms or 10s", s)
	}
	return d, nil
}

// formatDuration leaves out what is zero: 10m, not 10m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	for _, pair := range [][2]string{{"m0s", "m"}, {"h0m", "h"}} {
		if rest, ok := strings.CutSuffix(text, pair[0]); ok {
			text = rest + pair[1]
		}
	}
	return text
}

// parseNodes reads name=host:port,name=host:port.
func parseNodes(s string) (map[string]string, error) {
	nodes := map[string]string{}
	for _, pair := range split(s) {
		name, addr, ok := strings.Cut(pair, "=")
		if _, twice := nodes[name]; !ok || twice {
			return nil, fmt.Errorf("%q: want name=host:port, each name once", pair)
		}
		nodes[name] = addr
	}
	return nodes, nil
}

func formatNodes(nodes map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		pairs = append(pairs, name+"="+nodes[name])
	}
	return strings.Join(pairs, ",")
}

// parseRegions reads region=host:port,region=host:port; a region with several nodes is named several times.
func parseRegions(s string) (map[string][]string, error) {
	regions := map[string][]string{}
	for _, pair := range split(s) {
		name, addr, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%q: want region=host:port", pair)
		}
		regions[name] = append(regions[name], addr)
	}
	return regions, nil
}

func formatRegions(regions map[string][]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		for _, addr := range regions[name] {
			pairs = append(pairs, name+"="+addr)
		}
	}
	return strings.Join(pairs, ",")
}

// splitNames is split of what may have spaces in it.
func splitNames(s string) []string {
	list := []string{}
	for _, name := range strings.Split(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, name)
		}
	}
	return list
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
