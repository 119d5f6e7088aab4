package server

import (
	"os"
	"strings"
	"testing"
)

// TestConfigurationIsDocumented holds docs/configuration.md against the settings: key, type, default, variable and flag of each.
func TestConfigurationIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	page, defaults := string(text), DefaultConfig()
	rows := 0
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	for _, s := range settings {
		key := s.key
		for _, block := range []string{"client-tls", "peer-tls", "region-tls"} {
			if rest, nested := strings.CutPrefix(key, block+"-"); nested {
				key = block + "." + rest
			}
		}
		v := s.field(&defaults)
		kind, preset := strings.ReplaceAll(v.kind, ",…", ", …"), "–"
		if text := v.get(); text != "" {
			preset = "`" + text + "`"
		}
		row := "| `" + key + "` | " + kind + " | " + preset + " | `" + s.env() + "` | `--" + s.key + "` | "
		if !strings.Contains(page, "\n"+row) {
			t.Errorf("docs/configuration.md has no row that begins with\n%s", row)
		}
	}
	if rows != len(settings) {
		t.Errorf("docs/configuration.md has %d rows, the configuration %d keys", rows, len(settings))
	}
}
