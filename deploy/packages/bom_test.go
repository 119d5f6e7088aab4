//go:build unix

package packages

import (
	"bytes"
	"debug/buildinfo"
	"runtime"
	"testing"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"github.com/mimir-kv/mimir/deploy/packages/bom"
	"github.com/mimir-kv/mimir/deploy/packages/build"
)

// A bill names every module that the linker says is in the binary, and Go's own library, and is one that can be read.
func TestABillNamesEveryModule(t *testing.T) {
	var b bytes.Buffer
	if err := bom.Write(stamp, build.Target{OS: "linux", Arch: runtime.GOARCH}, program(t), &b); err != nil {
		t.Fatal(err)
	}
	var bill cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&b, cyclonedx.BOMFileFormatJSON).Decode(&bill); err != nil {
		t.Fatal(err)
	}
	named := map[string]string{}
	for _, c := range *bill.Components {
		named[c.Name] = c.Version
	}
	info, err := buildinfo.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 20 || len(named) != len(info.Deps)+1 || "go"+named["std"] != info.GoVersion {
		t.Errorf("%d modules and Go %s in the bill, %d and %s in the binary", len(named)-1, named["std"],
			len(info.Deps), info.GoVersion)
	}
	for _, m := range info.Deps {
		if named[m.Path] != m.Version {
			t.Errorf("%s is %s in the bill, %s in the binary", m.Path, named[m.Path], m.Version)
		}
	}
	if main := bill.Metadata.Component; main.Version != stamp.Version || bill.SpecVersion != cyclonedx.SpecVersion1_6 {
		t.Errorf("%s is described, by %v", main.Version, bill.SpecVersion)
	}
}
