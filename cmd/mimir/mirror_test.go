package main

import (
	"io"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/backup/mirror"
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

// That all of it is there is said once it is, and not while something may be missing.
func TestMirrorSaysWhatIsThere(t *testing.T) {
	var out strings.Builder
	said := mirrorSaid{n: &connection{}, out: &out}
	for _, p := range []mirror.Progress{
		{Revision: 7, Fleet: 7, Comparing: true}, {Revision: 7, Fleet: 7, Comparing: true, Compared: 3},
		{Revision: 7, Fleet: 7}, {Revision: 7, Fleet: 9},
	} {
		said.report(p)
	}
	const want = "not all is there yet: compared 0 keys, 0 changes by now, the fleet is at revision 7\n" +
		"all of revision 7 is there, 0 changes by now, 0 leases\n" +
		"at revision 7 of 9, 0 changes by now, 0 leases\n"
	if out.String() != want {
		t.Error(out.String())
	}
}
