package server

import (
	"errors"
	"strings"
	"testing"
)

// TestAWitnessSaysWhatIsWrongWithItsOptions, as a node does, and does not run without what they ask for.
func TestAWitnessSaysWhatIsWrongWithItsOptions(t *testing.T) {
	for want, change := range map[string]func(*WitnessOptions){
		"peer-tls: require-client-cert needs ca":     func(o *WitnessOptions) { o.TLS.RequireClientCert = true },
		`peer-tls: cert "c.pem" and key "" belong`:   func(o *WitnessOptions) { o.TLS.Cert = "c.pem" },
		`peer-tls: ca "ca.pem" without cert and key`: func(o *WitnessOptions) { o.TLS.CA = "ca.pem" },
		`name "a=b": use up to 63 letters`:           func(o *WitnessOptions) { o.Name = "a=b" },
		"fleet is missing":                           func(o *WitnessOptions) { o.FleetID = "" },
		"data-dir is missing":                        func(o *WitnessOptions) { o.DataDir = "" },
	} {
		o := WitnessOptions{Name: "w1", FleetID: "mimir", DataDir: t.TempDir(), Listen: "127.0.0.1:0"}
		change(&o)
		if err := RunWitness(t.Context(), o); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
