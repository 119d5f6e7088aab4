package server

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// wiring are the fields of the rooms below that no setting reaches, with what gives them their value.
var wiring = map[reflect.Type]map[string]string{
	reflect.TypeFor[replication.Config](): {
		"CheckpointSpareBytes": "checkpoint-bytes and the reserve",
		"Votes":                "made of failover.automatic and the settings beside it, if that is set",
		"Priority":             "priority, where 0 is never",
		"FleetExists":          "initial-cluster-state, as a word",
		"FS":                   "the machine's, in a process",
		"Clock":                "the machine's, in a process",
		"Logger":               "made of log-level and log-format",
		"ClientURLs":           "made of advertise-client and client-tls",
		"OnAsk":                "answered by etcdapi",
		"OnAskNode":            "answered by server/patrol",
		"Differs":              "what an alarm of the store says",
		"Revision":             "that of the store",
		"OnLeadership":         "told to the lessor",
		"OnEvent":              "kept in the event log",
		"CommandLevel":         "what kv says of its commands",
		"EntryLevel":           "the latest, but in tests of mixed fleets",
		"LagGate":              "made of the lag-gate settings",
		"Tracer":               "tells the collector of tracing.endpoint",
		"RegionRate":           "made of region-rate.copy and region-rate.stream",
	},
	reflect.TypeFor[kv.Options](): {
		"FS":        "the machine's, in a process",
		"Dir":       "a folder of data-dir",
		"Logger":    "made of log-level and log-format",
		"OnFailure": "ends the process",
		"OnCommit":  "timed for the metrics",
		"OnAlarm":   "kept in the event log",

		"OpenTables": "a share of the limit of open files",
		"SpareBytes": "a share of the ballast",
		"Clock":      "the machine's",
	},
	reflect.TypeFor[grpctransport.Options](): {
		"Listener":  "bound to listen-peer",
		"ServerTLS": "made of peer-tls and region-tls",
		"ClientTLS": "made of peer-tls and region-tls",

		"ClientCredentials": "made of peer-tls and region-tls",
		"Refused":           "told to the door of listen-peer",

		"Keys":        "read from fleet-key-file",
		"KeyOptional": "fleet-key-optional",
		"Admit":       "made of the peer-tls settings that say who is a node",
		"FleetID":     "fleet, as the library has it",
		"NodeName":    "name, as the library has it",
		"Region":      "region, as the library has it",
		"Connections": "one to each address",
		"Dialer":      "TCP",
		"Logger":      "made of log-level and log-format",
	},
	reflect.TypeFor[etcdapi.Limits](): {
		"Watches":    "what a stream of watches may cost, for everybody",
		"Durability": "made of the durability settings",
	},
}

// probes are values of each kind that are nobody's default.
var probes = map[string]string{
	"string": "x", "bool": "true", "int": "7", "size": "7", "duration": "7s", "name=addr,…": "a=b:1",
	"region=addr,…": "a=b:1", "addresses": "a:1", "region=rate,…": "a=7MiB",
	"prefix=durability,…": "/a=all",
}

// Every field of the library's configuration, of the store's options, of the transport's and of the API's limits has a
// setting, or stands in wiring; and every setting goes somewhere, alone.
func TestEverySettingOfTheRoomsBelowIsReached(t *testing.T) {
	reached := map[reflect.Type]map[string]string{}
	owner := map[string]string{}
	for _, s := range settings {
		var c Config
		if err := s.set(&c, probes[s.kind]); err != nil {
			t.Fatalf("%s: %v", s.key, err)
		}
		paths := changed(reflect.ValueOf(c), "")
		if len(paths) != 1 {
			t.Errorf("%s goes to %v, want one field", s.key, paths)
			continue
		}
		if other, taken := owner[paths[0]]; taken {
			t.Errorf("%s and %s both go to %s", other, s.key, paths[0])
		}
		owner[paths[0]] = s.key
		top, field, nested := strings.Cut(paths[0], ".")
		if f, _ := reflect.TypeFor[Config]().FieldByName(top); nested {
			if reached[f.Type] == nil {
				reached[f.Type] = map[string]string{}
			}
			reached[f.Type][field] = s.key
		}
	}
	for room, given := range wiring {
		for i := range room.NumField() {
			if !room.Field(i).IsExported() { // nobody else can set it
				continue
			}
			field := room.Field(i).Name
			_, wired := given[field]
			if key, set := reached[room][field]; set == wired {
				t.Errorf("%s.%s: setting %q, wiring %q; want one of them", room, field, key, given[field])
			}
			delete(given, field)
		}
		for field := range given {
			t.Errorf("wiring names %s.%s, which is gone", room, field)
		}
	}
}

// changed returns the fields of v that are not zero: "Field", or "Struct.Field".
func changed(v reflect.Value, prefix string) (paths []string) {
	for i := range v.NumField() {
		name := prefix + v.Type().Field(i).Name
		if f := v.Field(i); f.Kind() == reflect.Struct && prefix == "" {
			paths = append(paths, changed(f, name+".")...)
		} else if !f.IsZero() {
			paths = append(paths, name)
		}
	}
	return paths
}

// Every default lies within its bounds, and survives being written down.
func TestDefaultsAreSound(t *testing.T) {
	c := DefaultConfig()
	var f faults
	if c.validateLimits(&f); len(f) > 0 {
		t.Error(f)
	}
	for _, s := range settings {
		var again Config
		if err := s.set(&again, s.get(&c)); err != nil || s.get(&again) != s.get(&c) {
			t.Errorf("%s: default %q is read as %q, %v", s.key, s.get(&c), s.get(&again), err)
		}
	}
}

var update = flag.Bool("update", false, "write the settings into docs/configuration.md")

const configurationPage = "../docs/configuration.md"

// TestConfigurationIsDocumented holds docs/configuration.md against the settings: every section has its table.
func TestConfigurationIsDocumented(t *testing.T) {
	text, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, s := range sections {
		at := strings.Index(page, "\n## "+s.title+"\n")
		if at < 0 {
			t.Fatalf("%s has no section %q", configurationPage, s.title)
		}
		from := strings.Index(page[at:], "\n"+tableHead)
		if from < 0 {
			t.Fatalf("section %q of %s has no table %q", s.title, configurationPage, tableHead)
		}
		from += at + 1
		to := from
		for strings.HasPrefix(page[to:], "|") {
			to += strings.Index(page[to:], "\n") + 1
		}
		want := table(s)
		if page[from:to] != want && !*update {
			t.Errorf("section %q of %s is not what the settings say (-update writes it):\n%s\nwant\n%s",
				s.title, configurationPage, page[from:to], want)
		}
		page = page[:from] + want + page[to:]
	}
	if rows := strings.Count(page, "\n| `"); rows != len(settings) {
		t.Errorf("%s has %d rows of settings, the configuration %d keys", configurationPage, rows, len(settings))
	}
	if *update {
		if err := os.WriteFile(configurationPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const tableHead = "| key | type | default | variable | flag | meaning |\n"

func table(section section) string {
	defaults := DefaultConfig()
	var b strings.Builder
	b.WriteString(tableHead + "|---|---|---|---|---|---|\n")
	for _, s := range section.settings {
		preset := "–"
		if text := s.get(&defaults); text != "" {
			preset = "`" + text + "`"
		}
		kind := strings.ReplaceAll(s.kind, ",…", ", …")
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | `--%s` | %s |\n", s.key, kind, preset, s.env(), s.name(), s.help())
	}
	return b.String()
}
