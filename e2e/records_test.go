package e2e

import (
	"os"
	"strings"
	"testing"
)

func TestReadRecords(t *testing.T) {
	const input = "Package: a\nVersion: 1:2-3\nArchitecture: all\nDescription: x\n more of it\n\n\n" +
		"Package: a\nVersion: 1:2-3\nArchitecture: all\n\nPackage: b\n"
	for _, test := range []struct {
		limit int
		keys  string
	}{
		{0, "/apt/a/1:2-3/all /apt/a/1:2-3/all#2 /apt/b/-/-"},
		{3, "/apt/a/1:2-3/all /apt/a/1:2-3/all#2 /apt/b/-/-"},
		{2, "/apt/a/1:2-3/all /apt/a/1:2-3/all#2"},
		{1, "/apt/a/1:2-3/all"},
	} {
		records, err := ReadRecords(strings.NewReader(input), test.limit)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, r := range records {
			keys = append(keys, r.Key)
		}
		if got := strings.Join(keys, " "); got != test.keys {
			t.Errorf("limit %d: %s", test.limit, got)
		}
		const want = "Package: a\nVersion: 1:2-3\nArchitecture: all\nDescription: x\n more of it"
		if got := string(records[0].Value); got != want {
			t.Errorf("value %q", got)
		}
	}
}

func TestExcerptHasAKeyForEachStanza(t *testing.T) {
	text, err := os.ReadFile("testdata/packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	records, err := ReadRecords(strings.NewReader(string(text)), 0)
	if err != nil || len(records) != strings.Count(string(text), "Package: ") {
		t.Fatalf("%d records, %v", len(records), err)
	}
	seen := map[string]bool{}
	for _, r := range records {
		if seen[r.Key] {
			t.Errorf("%s is there twice", r.Key)
		}
		seen[r.Key] = true
	}
}
