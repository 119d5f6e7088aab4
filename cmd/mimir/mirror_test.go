package main

import (
	"io"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// Keys keep their names where nothing else is said, and lose the prefix where it is said to be nothing: a mirror to the
// fleet itself, which is refused, names both.
func TestMirrorKeepsThePrefix(t *testing.T) {
	fleet := etcdapitest.StartPlain(t).Endpoint
	for want, more := range map[string][]string{
		`keys "a/" are among or around keys "a/"`: nil, `keys "a/" are among or around keys ""`: {"--to-prefix="},
	} {
		var said strings.Builder
		arguments := append([]string{"mirror", "--endpoints", fleet, "--to", fleet, "--prefix", "a/"}, more...)
		if status := run(t.Context(), nil, arguments, io.Discard, &said); status == 0 ||
			!strings.Contains(said.String(), want) {
			t.Errorf("%q: status %d: %s", more, status, said.String())
		}
	}
}
