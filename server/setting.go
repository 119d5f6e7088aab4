package server

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// setting is one key of the configuration: how it is read, shown and checked, and where it goes in a Config.
type setting struct {
	key     string // in the file; what stands behind a dot is nested
	kind    string
	bounds  string // for people; empty if there are none
	meaning string
	reset   func(*Config) // to the default
	set     func(*Config, string) error
	get     func(*Config) string
	copy    func(to, from *Config)          // as it is: its text may not lead back to it
	decode  func(*Config, *yaml.Node) error // from the file; nil: as set has its text
	number  func(*Config) int64             // nil unless it can be compared
	check   func(*Config) error             // nil if every value will do
}

// unbounded is the upper bound of what may be as large as it likes.
const unbounded = math.MaxInt64

// name is the key without dots: of the flag, and of the variable.
func (s *setting) name() string { return strings.ReplaceAll(s.key, ".", "-") }

func (s *setting) env() string {
	return "MIMIR_" + strings.ToUpper(strings.ReplaceAll(s.name(), "-", "_"))
}

// read takes what the file has. Nothing leaves what is there.
func (s *setting) read(c *Config, n *yaml.Node) error {
	if s.decode != nil {
		return s.decode(c, n)
	}
	var text *string
	if err := n.Decode(&text); err != nil || text == nil {
		return err
	}
	if err := s.set(c, *text); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// help is what the setting means and which values it takes, in one line.
func (s *setting) help() string {
	text := s.meaning
	if s.bounds != "" {
		text += "; " + s.bounds
	}
	for _, pair := range ascending {
		if pair[0] == s.key {
			text += ", at most `" + pair[1] + "`"
		}
		if pair[1] == s.key {
			text += ", at least `" + pair[0] + "`"
		}
	}
	return text
}

// of makes a setting of a field that at finds, with the text form that v gives to it.
func of[T any](key, kind, meaning string, preset T, at func(*Config) *T, v form[T]) setting {
	return setting{
		key: key, kind: kind, meaning: meaning,
		reset: func(c *Config) { *at(c) = preset },
		copy:  func(to, from *Config) { *at(to) = *at(from) },
		get:   func(c *Config) string { return v.format(*at(c)) },
		set: func(c *Config, s string) error {
			value, err := v.parse(s)
			if err != nil {
				return err
			}
			*at(c) = value
			return nil
		},
		decode: func(c *Config, n *yaml.Node) error {
			if n.Kind == yaml.MappingNode { // which would be added to what was there
				*at(c) = *new(T)
			}
			return n.Decode(at(c))
		},
	}
}

func text(key, preset, meaning string, at func(*Config) *string) setting {
	return of(key, "string", meaning, preset, at, form[string]{
		func(s string) (string, error) { return s, nil }, func(s string) string { return s },
	})
}

// places is a list of addresses, written as one text: see package address.
func places(key, preset, meaning string, at func(*Config) *string) setting {
	s := text(key, preset, meaning, at)
	s.kind = "addresses"
	s.decode = func(c *Config, n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return n.Decode(at(c))
		}
		var list []string
		err := n.Decode(&list)
		*at(c) = strings.Join(list, ",")
		return err
	}
	return s
}

// regionRates is a list of rates, written as one text: see parseRates.
func regionRates(key, meaning string, at func(*Config) *string) setting {
	s := places(key, "", meaning, at)
	s.kind = "region=rate,…"
	return s
}

func yesOrNo(key, meaning string, at func(*Config) *bool) setting {
	return of(key, "bool", meaning, false, at, form[bool]{parseBool, strconv.FormatBool})
}

func list(key, meaning string, at func(*Config) *[]string) setting {
	return of(key, "list", meaning, nil, at, form[[]string]{
		func(s string) ([]string, error) { return split(s), nil },
		func(l []string) string { return strings.Join(l, ",") },
	})
}

// nameList is a list of what may have spaces in it.
func nameList(key, meaning string, at func(*Config) *[]string) setting {
	return of(key, "list", meaning, nil, at, form[[]string]{
		func(s string) ([]string, error) { return splitNames(s), nil },
		func(l []string) string { return strings.Join(l, ",") },
	})
}

// yesUnless is a setting that is yes where something else is set, unless it is set to no.
func yesUnless(key, meaning string, yes, no func(*Config) *bool) setting {
	s := yesOrNo(key, meaning, yes)
	set := func(c *Config, b bool) { *yes(c), *no(c) = b, !b }
	s.set = func(c *Config, text string) error {
		b, err := parseBool(text)
		if err == nil {
			set(c, b)
		}
		return err
	}
	s.decode = func(c *Config, n *yaml.Node) error {
		var b bool
		err := n.Decode(&b)
		if err == nil {
			set(c, b)
		}
		return err
	}
	s.reset = func(c *Config) { *yes(c), *no(c) = false, false }
	s.copy = func(to, from *Config) { *yes(to), *no(to) = *yes(from), *no(from) }
	return s
}

func addressOfEach(key, meaning string, at func(*Config) *map[string]string) setting {
	return of(key, "name=addr,…", meaning, nil, at, form[map[string]string]{parseNodes, formatNodes})
}

func addressesOfEach(key, meaning string, at func(*Config) *map[string][]string) setting {
	return of(key, "region=addr,…", meaning, nil, at, form[map[string][]string]{parseRegions, formatRegions})
}

func durabilityOfEach(key, meaning string, at func(*Config) *map[string]string) setting {
	return of(key, "prefix=durability,…", meaning, nil, at, form[map[string]string]{parsePrefixes, formatNodes})
}

func count(key string, preset, low, high int, meaning string, at func(*Config) *int) setting {
	s := of(key, "int", meaning, preset, at, form[int]{parseInt, strconv.Itoa})
	s.decode = func(c *Config, n *yaml.Node) error {
		if err := isWhole(n); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		return n.Decode(at(c))
	}
	return s.between(int64(low), int64(high), func(c *Config) int64 { return int64(*at(c)) }, func(n int64) string {
		return strconv.FormatInt(n, 10)
	})
}

// isWhole refuses a number that is none of whole ones, which YAML would cut off to one.
func isWhole(n *yaml.Node) error {
	var f float64
	if n.ShortTag() == "!!float" && n.Decode(&f) == nil && (math.Trunc(f) != f || math.IsInf(f, 0)) {
		return fmt.Errorf("%s is not a whole number", n.Value)
	}
	return nil
}

func duration(key string, preset, low, high time.Duration, meaning string, at func(*Config) *time.Duration) setting {
	s := of(key, "duration", meaning, preset, at, form[time.Duration]{parseDuration, formatDuration})
	s.decode = nil
	return s.between(int64(low), int64(high), func(c *Config) int64 { return int64(*at(c)) }, func(n int64) string {
		return formatDuration(time.Duration(n))
	})
}

// size is a number of bytes, whatever the type of the field.
func size[T ~int | ~int32 | ~int64 | ~uint64](
	key string, preset, low, high Bytes, meaning string, at func(*Config) *T,
) setting {
	parse := func(text string) (T, error) {
		var b Bytes
		if err := b.Set(text); err != nil {
			return 0, err
		}
		n := T(b)
		if n < 0 || Bytes(n) != b {
			return 0, fmt.Errorf("%q is more than this setting can count", text)
		}
		return n, nil
	}
	s := of(key, "size", meaning, T(preset), at, form[T]{parse, func(n T) string { return Bytes(n).String() }})
	s.decode = nil
	return s.between(int64(low), int64(high), func(c *Config) int64 { return int64(*at(c)) }, func(n int64) string {
		return Bytes(n).String()
	})
}

// between bounds a setting that is a number.
func (s setting) between(low, high int64, number func(*Config) int64, format func(int64) string) setting {
	s.number = number
	s.bounds = format(low) + " to " + format(high)
	if high == unbounded {
		s.bounds = "at least " + format(low)
	}
	s.check = func(c *Config) error {
		if n := number(c); n < low || n > high {
			return fmt.Errorf("%s %s is out of bounds: %s%s", s.key, format(n), s.bounds, shared(s.key))
		}
		return nil
	}
	return s
}

// orNone takes zero, and else nothing below low, of a size whose zero stands for none or for what follows from others.
func (s setting) orNone(low int64) setting {
	s.bounds = "0, or at least " + Bytes(low).String()
	s.check = func(c *Config) error {
		if n := s.number(c); n < 0 || n > 0 && n < low {
			return fmt.Errorf("%s %s is out of bounds: %s", s.key, s.get(c), s.bounds)
		}
		return nil
	}
	return s
}

// shared names the setting that has the same upper bound because the first must not be above it.
func shared(key string) string {
	if key == "max-request-bytes" {
		return ", which max-command-bytes cannot exceed"
	}
	return ""
}

// alsoTaking has the setting take another way to write its values as well, which words translates.
func (s setting) alsoTaking(words func(string) string) setting {
	set := s.set
	s.set = func(c *Config, text string) error { return set(c, words(text)) }
	return s
}

// flagValue adapts a setting of one Config to pflag.Value.
type flagValue struct {
	*setting
	config *Config
}

func (f flagValue) Set(s string) error { return f.set(f.config, s) }
func (f flagValue) String() string     { return f.get(f.config) }
func (f flagValue) Type() string       { return f.kind }

// AddFlags adds a flag for every key.
func AddFlags(flags *pflag.FlagSet) {
	values := DefaultConfig()
	for i := range settings {
		s := &settings[i]
		f := flags.VarPF(flagValue{s, &values}, s.name(), "", unmarked(s.help()))
		if s.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	addEtcdFlags(flags)
}
