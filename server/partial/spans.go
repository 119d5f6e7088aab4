package partial

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mimir-kv/mimir/kv/command"
)

// MaxPrefixes is how many a partial region has at most.
const MaxPrefixes = 64

// Prefixes are those of the keys that a partial region follows, in order; none is within another.
type Prefixes [][]byte

// ParsePrefixes reads prefixes as they are written: as they are, or in quotes as Go has strings, if there is a space in
// them or what cannot be written.
func ParsePrefixes(texts []string) (Prefixes, error) {
	var list Prefixes
	for _, text := range texts {
		if strings.HasPrefix(text, `"`) {
			plain, err := strconv.Unquote(text)
			if err != nil {
				return nil, fmt.Errorf("prefix %s: %w", text, err)
			}
			text = plain
		}
		list = append(list, []byte(text))
	}
	return list, list.sort()
}

// sort brings them in order, and checks them.
func (p Prefixes) sort() error {
	if len(p) == 0 || len(p) > MaxPrefixes {
		return fmt.Errorf("%d prefixes: a partial region has 1 to %d", len(p), MaxPrefixes)
	}
	slices.SortFunc(p, bytes.Compare)
	for i, one := range p {
		if len(one) == 0 {
			return errors.New("an empty prefix is that of all keys: that is a full region")
		}
		if i > 0 && bytes.HasPrefix(one, p[i-1]) {
			return fmt.Errorf("prefix %s is within %s: name the one that you mean", quoted(one), quoted(p[i-1]))
		}
	}
	return nil
}

// quoted is a prefix as it is written.
func quoted(prefix []byte) string {
	text := string(prefix)
	strange := func(r rune) bool { return strings.ContainsRune(` ,"`, r) || !strconv.IsPrint(r) }
	if strings.ContainsFunc(text, strange) {
		return strconv.Quote(text)
	}
	return text
}

// Texts returns them as they are written.
func (p Prefixes) Texts() (list []string) {
	for _, one := range p {
		list = append(list, quoted(one))
	}
	return list
}

// String returns them for people.
func (p Prefixes) String() string { return strings.Join(p.Texts(), ", ") }

// Equal reports whether both are the same.
func (p Prefixes) Equal(q Prefixes) bool { return slices.EqualFunc(p, q, bytes.Equal) }

// Spans returns the keys with them.
func (p Prefixes) Spans() (list []command.Span) {
	for _, one := range p {
		list = append(list, command.Span{Start: one, End: after(one)})
	}
	return list
}

// after returns the first key behind all that have a prefix, empty if there is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := slices.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return []byte{}
}

// Hold reports whether all keys of a range, as requests name it, have one of them. A range without keys has them too
// where its bounds do.
func (p Prefixes) Hold(key, end []byte) bool {
	asked := command.SpanOf(key, end)
	return slices.ContainsFunc(p.Spans(), func(s command.Span) bool {
		switch {
		case !s.Contains(asked.Start):
			return false
		case asked.Single() || len(s.End) == 0:
			return true
		default:
			return len(asked.End) > 0 && bytes.Compare(asked.End, s.End) <= 0
		}
	})
}
