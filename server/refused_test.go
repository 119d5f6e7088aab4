package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A certificate, a key or the configuration that cannot be read is wrong configuration, in one line that names the
// file.
func TestFilesOfTheConfigurationThatCannotBeRead(t *testing.T) {
	damaged := func(t *testing.T, name, damage string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("-----BEGIN CERTIFICATE-----\nAAAA"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := damages[damage](path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := newAuthority(t, "us").issue(t, "n")
	for damage := range damages {
		if os.Geteuid() == 0 && (damage == "not to be read" || damage == "not to be written") {
			continue
		}
		for _, use := range []struct {
			what string
			in   func(*Config, string)
		}{
			{"client-tls.cert", func(c *Config, path string) { c.ClientTLS = TLS{Cert: path, Key: path} }},
			{"client-tls.ca", func(c *Config, path string) {
				c.ClientTLS = good
				c.ClientTLS.CA = path
			}},
			{"peer-tls.cert", func(c *Config, path string) { c.PeerTLS = TLS{Cert: path, Key: path} }},
			{"region-tls.ca", func(c *Config, path string) {
				c.PeerTLS, c.RegionTLS = good, TLS{CA: path}
			}},
		} {
			c, path := testConfig(t, "n"), damaged(t, "file.pem", damage)
			use.in(c, path)
			err := Run(t.Context(), c, Options{LogTo: &logged{}})
			if !errors.Is(err, ErrConfig) || strings.Contains(fmt.Sprint(err), "\n") ||
				!strings.Contains(fmt.Sprint(err), path) || !strings.Contains(fmt.Sprint(err), use.what[:6]) {
				t.Errorf("%s, %s: %v", use.what, damage, err)
			}
		}
		path := damaged(t, "mimir.yaml", damage)
		if _, err := Load(path, os.LookupEnv, nil); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "\n") ||
			!strings.Contains(err.Error(), path) && damage != "emptied" {
			t.Errorf("configuration file, %s: %v", damage, err)
		}
	}
}

// A data directory that cannot be one is named, with what to do.
func TestADataDirectoryThatCannotBeOne(t *testing.T) {
	for what, make := range map[string]func(dir string) (string, error){
		"a file":           func(dir string) (string, error) { return dir, os.WriteFile(dir, nil, 0o600) },
		"a link to itself": func(dir string) (string, error) { return dir, os.Symlink(dir, dir) },
		"below a file": func(dir string) (string, error) {
			return filepath.Join(dir, "data"), os.WriteFile(dir, nil, 0o600)
		},
		"below a link to itself": func(dir string) (string, error) {
			return filepath.Join(dir, "data"), os.Symlink(dir, dir)
		},
		"a link to nowhere": func(dir string) (string, error) { return dir, os.Symlink(dir+".gone", dir) },
	} {
		c := testConfig(t, "n")
		dir, err := make(filepath.Join(t.TempDir(), "data"))
		if err != nil {
			t.Fatal(err)
		}
		c.Replication.DataDir = dir
		text := fmt.Sprint(Run(t.Context(), c, Options{LogTo: &logged{}}))
		if strings.Contains(text, "\n") || !strings.HasPrefix(text, "data-dir "+dir+": ") ||
			!strings.Contains(text, "; ") || strings.Contains(text, "replace the node") {
			t.Errorf("%s: %s", what, text)
		}
	}
}
