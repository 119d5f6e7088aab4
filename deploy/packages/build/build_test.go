package build

import (
	"testing"
	"time"
)

func TestAStampThatPackagesCannotSayIsRefused(t *testing.T) {
	good := Stamp{"v1.2.3", "0123", time.Unix(1, 0)}
	for _, version := range []string{"v1.2.3", "v0.0.0-20261127220000.g0123456789ab", "v10.0.0-rc.1"} {
		s := good
		if s.Version = version; s.Valid() != nil {
			t.Errorf("%s: %v", version, s.Valid())
		}
	}
	for _, version := range []string{"", "1.2.3", "v1.2", "v01.2.3", "v1.2.3+dirty", "v1.2.3 -X main.x=y",
		"v1.2.3-a-b"} {
		s := good
		if s.Version = version; s.Valid() == nil {
			t.Errorf("%q is taken", version)
		}
	}
	for _, s := range []Stamp{{good.Version, "", good.Date}, {good.Version, good.Commit, time.Time{}}} {
		if s.Valid() == nil {
			t.Errorf("%v is taken", s)
		}
	}
}

// The stamp of this repository, where it is one.
func TestAStampIsReadFromTheRepository(t *testing.T) {
	s, err := Read(t.Context(), "../../..", "")
	if err != nil {
		t.Skipf("no repository: %v", err)
	}
	if s.Date.Location() != time.UTC || len(s.Commit) < 40 || s.Version[:7] != "v0.0.0-" {
		t.Errorf("%+v", s)
	}
}
