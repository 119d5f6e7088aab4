package server

import (
	"maps"
	"strings"
	"testing"
)

func TestDurabilityOfPrefixesIsRead(t *testing.T) {
	got, err := parsePrefixes("/payments/=regions=1, /a=b/=quorum,/log =local,/x=regions=all")
	want := map[string]string{"/payments/": "regions=1", "/a=b/": "quorum", "/log ": "local", "/x": "regions=all"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"/payments/", "=all", "=regions=1", "/a=all,/a=local"} {
		if got, err := parsePrefixes(text); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestAWrongDurabilityIsRefused(t *testing.T) {
	for text, d := range map[string]Durability{
		"durability.default":                   {Default: "most"},
		"durability.prefixes: \"/a\"":          {Default: "local", Prefixes: map[string]string{"/a": "regions=0"}},
		"all keys begin with the empty prefix": {Default: "local", Prefixes: map[string]string{"": "all"}},
	} {
		if _, err := d.rules(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
