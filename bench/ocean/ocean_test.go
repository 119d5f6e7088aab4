package main

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/ocean/link"
)

var output = bench.Output{Command: command}

// TestTheDocumentIsMadeOfTheResult that stands beside it.
func TestTheDocumentIsMadeOfTheResult(t *testing.T) {
	p, err := os.ReadFile("../../docs/ocean.json")
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(p, &r); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../docs/ocean.md")
	if err != nil {
		t.Fatal(err)
	}
	if want, err := output.Written(string(document), table(&r)); err != nil || want != string(document) {
		t.Errorf("docs/ocean.md has another table than docs/ocean.json makes (%v):\n%s", err, table(&r))
	}
}

// TestTable has parts of peers of the same round, and says that the machine was not quiet and the line no line.
func TestTable(t *testing.T) {
	var f figures
	f.add("stream", "Mbit/s", 90, "TCP", 100)
	f.add("stream", "Mbit/s", 60, "TCP", 60)
	f.add("stream", "Mbit/s", 50, "TCP", 100)
	f.add("alone", "ms", 7, "", 0)
	r := Result{
		Command: "x", Date: "2026-01-01", Nodes: 1, Rounds: 3, TCP: ownTCP, Rows: f.rows(),
		LateP99: 5 * time.Millisecond,
		Line:    link.Conditions{Delay: 40 * time.Millisecond, Rate: 200_000_000, Loss: 0.001, Queue: 2_000_000},
		Spin:    bench.Spread{Median: 50e6, Least: 40e6, Most: 90e6},
	}
	got := table(&r)
	for _, want := range []string{
		"| stream | 60.0 Mbit/s | 50.0 – 90.0 | 0.90 | 0.50 – 1.00 | TCP |\n",
		"| alone | 7.0 ms | 7.0 – 7.0 | – | – | – |\n",
		"80ms round trip, 200 Mbit/s", "0.1 % of packets lost", "it was not quiet", "not what it says",
		"ended before its last round", "no iperf3 on the PATH",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if _, err := output.Written("nothing", table(&r)); !errors.Is(err, bench.ErrNoTable) {
		t.Error(err)
	}
}

func TestAnswersOfIperf3(t *testing.T) {
	rate, err := received([]byte(
		`{"end":{"sum_sent":{"bits_per_second":9e9},"sum_received":{"bits_per_second":151.5e6}}}`))
	if err != nil || rate != 151.5 {
		t.Errorf("%v, %v", rate, err)
	}
	for _, wrong := range []string{"", `{"error":"unable to connect"}`} {
		if _, err := received([]byte(wrong)); err == nil {
			t.Errorf("%q is a rate", wrong)
		}
	}
}

// TestContents: one kind does not compress, the other one by more than half.
func TestContents(t *testing.T) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	random := rand.New(rand.NewPCG(1, 1))
	for name, kind := range map[string]struct {
		of          contents
		least, most int
	}{"noise": {noise, valueBytes, 2 * valueBytes}, "text": {text, valueBytes / 20, valueBytes / 2}} {
		value := kind.of(random, valueBytes)
		packed := len(e.EncodeAll([]byte(value), nil))
		if len(value) != valueBytes || packed < kind.least || packed > kind.most {
			t.Errorf("%s: %d bytes, packed %d", name, len(value), packed)
		}
	}
}

func TestPartsAreChosenByName(t *testing.T) {
	all, err := choose("")
	if err != nil || len(all) != len(parts) {
		t.Errorf("%d, %v", len(all), err)
	}
	few, err := choose("put,stream")
	if err != nil || len(few) != 2 || few[0].name != "put" {
		t.Errorf("%v, %v", few, err)
	}
	if _, err := choose("sea"); err == nil || !strings.Contains(err.Error(), "bootstrap") {
		t.Error(err)
	}
}
