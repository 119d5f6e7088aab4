package main

import (
	"errors"
	"strings"
	"testing"
)

// Nobody's password, and no token, goes in clear without a word; where TLS was asked for it does not go at all.
func TestSecretsDoNotGoInClear(t *testing.T) {
	for _, test := range []struct {
		endpoint      string
		secure        bool
		warns, refuse bool
	}{
		{"10.1.0.2:2379", true, false, false},
		{"https://10.1.0.2:2379", false, false, false},
		{"http://10.1.0.2:2379", true, false, true},
		{"http://127.0.0.1:2379", true, false, true},
		{"http://10.1.0.2:2379/", false, true, false},
		{"10.1.0.2:2379", false, true, false},
		{"db.example.com:2379", false, true, false},
		{"localhost:2379", false, false, false},
		{"http://[::1]:2379", false, false, false},
	} {
		for _, n := range []connection{{who: login{user: "root:geheim"}}, {tokenFile: "f"}, {}} {
			var warning strings.Builder
			err := n.discreet(test.secure, []string{test.endpoint}, &warning)
			some := n.tokenFile != "" || n.who.user != ""
			if errors.Is(err, errUsage) != (test.refuse && some) || (err != nil) != (test.refuse && some) ||
				(warning.Len() > 0) != (test.warns && some) || strings.Contains(warning.String(), "geheim") {
				t.Errorf("%+v, %t: %v, %q", test, some, err, warning.String())
			}
		}
	}
}
