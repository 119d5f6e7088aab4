package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// witnessIn runs a witness until it serves, and ends it then; or returns why it does not.
func witnessIn(t *testing.T, dir, name string) error {
	t.Helper()
	return witnessWith(t, WitnessOptions{DataDir: dir, Fleets: []WitnessFleet{{ID: "f", Name: name}}})
}

func witnessWith(t *testing.T, o WitnessOptions) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &logged{}
	ended := make(chan error, 1)
	o.Listen, o.Logger = "127.0.0.1:0", slog.New(slog.NewTextHandler(log, nil))
	go func() { ended <- RunWitness(ctx, o) }()
	for until := time.Now().Add(time.Minute); !strings.Contains(log.String(), "msg=witness"); {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(until) {
			t.Fatalf("it neither serves nor ends\n%s", log)
		}
	}
	cancel()
	return <-ended
}

// A witness whose directory was damaged votes as before, or ends with one line that names the file and what to do. Only
// what says whose the directory is may be lost without harm: the votes are in the ballot.
func TestADamagedWitnessSaysSo(t *testing.T) {
	whole, foreign := filepath.Join(t.TempDir(), "w1"), filepath.Join(t.TempDir(), "w2")
	for dir, name := range map[string]string{whole: "w1", foreign: "w2"} {
		if err := witnessIn(t, dir, name); err != nil {
			t.Fatal(err)
		}
	}
	table := map[string]func(path string) error{
		"that of another witness": func(path string) error {
			text, err := os.ReadFile(filepath.Join(foreign, filepath.Base(path)))
			return errors.Join(err, os.WriteFile(path, text, 0o600))
		},
	}
	for damage, do := range damages {
		if os.Geteuid() != 0 || !slices.Contains(forbidding, damage) {
			table[damage] = do
		}
	}
	harmless := map[string][]string{
		"ballot": {"not to be written"}, // it is replaced
		"WITNESS": {"a flipped byte in the middle", "a flipped byte early", "cut to half", "emptied", "deleted",
			"a directory", "a link to itself", "that of another witness", "not to be read", "not to be written"},
	}
	for file, fine := range harmless {
		for damage, do := range table {
			dir := filepath.Join(t.TempDir(), "w")
			if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), do(filepath.Join(dir, file))); err != nil {
				t.Fatal(err)
			}
			err := witnessIn(t, dir, "w1")
			text := fmt.Sprint(err)
			switch {
			case slices.Contains(fine, damage) != (err == nil):
				t.Errorf("%s, %s: %v", file, damage, err)
			case err != nil && (strings.Contains(text, "\n") || !strings.Contains(text, "data-dir "+dir) ||
				!strings.Contains(text, filepath.Join(dir, file)) || !strings.Contains(text, "; ")):
				t.Errorf("%s, %s: not one clear line: %s", file, damage, text)
			case errors.Is(err, replication.ErrConfig):
				t.Errorf("%s, %s: is no wrong configuration: %s", file, damage, text)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := witnessIn(t, file, "w1"); err == nil || !strings.Contains(err.Error(), "it is a file and no directory") {
		t.Errorf("a file in the place of the directory: %v", err)
	}
}

// TestAWitnessSaysWhatIsWrongWithItsOptions, as a node does, and does not run without what they ask for.
func TestAWitnessSaysWhatIsWrongWithItsOptions(t *testing.T) {
	for want, change := range map[string]func(*WitnessOptions){
		"peer-tls: require-client-cert needs ca":     func(o *WitnessOptions) { o.TLS.RequireClientCert = true },
		`peer-tls: cert "c.pem" and key "" belong`:   func(o *WitnessOptions) { o.TLS.Cert = "c.pem" },
		`peer-tls: ca "ca.pem" without cert and key`: func(o *WitnessOptions) { o.TLS.CA = "ca.pem" },
		`name "a=b": use up to 63 letters`:           func(o *WitnessOptions) { o.Fleets[0].Name = "a=b" },
		"fleet is missing":                           func(o *WitnessOptions) { o.Fleets[0].ID = "" },
		"data-dir is missing":                        func(o *WitnessOptions) { o.DataDir = "" },
		"fleet mimir is named twice": func(o *WitnessOptions) {
			o.Fleets = append(o.Fleets, o.Fleets...)
		},
		"0 fleets are named":             func(o *WitnessOptions) { o.Fleets = nil },
		`crowds: "office" is no network`: func(o *WitnessOptions) { o.Crowds = []string{"office"} },
	} {
		fleets := []WitnessFleet{{Name: "w1", ID: "mimir"}}
		o := WitnessOptions{Fleets: fleets, DataDir: t.TempDir(), Listen: "127.0.0.1:0"}
		change(&o)
		if err := RunWitness(t.Context(), o); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
