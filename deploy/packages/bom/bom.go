// Package bom tells what a binary was made of, as a bill of material by CycloneDX.
//
// It promises that every module which the linker says is in the binary stands in its bill, with the version and sum
// that were built in, and the standard library; and that the same binary has the same bill.
package bom

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"github.com/mimir-kv/mimir/deploy/packages/build"
)

// Write writes the bill of a binary.
func Write(s build.Stamp, t build.Target, binary string, to io.Writer) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read what %s was made of: %w", binary, err)
	}
	sum, err := sumOf(binary)
	if err != nil {
		return err
	}
	encoder := cyclonedx.NewBOMEncoder(to, cyclonedx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	return encoder.EncodeVersion(bill(s, t, info, sum), cyclonedx.SpecVersion1_6)
}

func sumOf(file string) (sum [sha256.Size]byte, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return sum, err
	}
	return sha256.Sum256(content), nil
}

// bill is the bill of what the linker told.
func bill(s build.Stamp, t build.Target, info *buildinfo.BuildInfo, sum [sha256.Size]byte) *cyclonedx.BOM {
	main := cyclonedx.Component{
		BOMRef: packageURL(build.Module, s.Version), Type: cyclonedx.ComponentTypeApplication, Name: "mimir",
		Version: s.Version, PackageURL: packageURL(build.Module, s.Version),
		Hashes:   &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
		Properties: &[]cyclonedx.Property{
			{Name: "mimir:commit", Value: s.Commit}, {Name: "mimir:target", Value: t.String()},
		},
	}
	toolchain := strings.TrimPrefix(info.GoVersion, "go")
	library := cyclonedx.Component{
		BOMRef: packageURL("std", toolchain), Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: toolchain,
		PackageURL: packageURL("std", toolchain),
	}
	components := []cyclonedx.Component{library}
	uses := []string{library.BOMRef}
	for _, module := range info.Deps {
		c := component(module)
		components, uses = append(components, c), append(uses, c.BOMRef)
	}
	b := cyclonedx.NewBOM()
	b.SerialNumber = serial(sum)
	b.Metadata = &cyclonedx.Metadata{Timestamp: s.Date.Format(time.RFC3339), Component: &main}
	b.Components = &components
	b.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &uses}}
	return b
}

// component is a module that was built in.
func component(module *debug.Module) cyclonedx.Component {
	if module.Replace != nil {
		module = module.Replace
	}
	return cyclonedx.Component{
		BOMRef: packageURL(module.Path, module.Version), Type: cyclonedx.ComponentTypeLibrary, Name: module.Path,
		Version: module.Version, PackageURL: packageURL(module.Path, module.Version),
		Properties: &[]cyclonedx.Property{{Name: "go:sum", Value: module.Sum}},
	}
}

// packageURL is the name of a module that tools for bills know.
func packageURL(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// serial is a UUID made of the sum of the binary, of version 8: what it means is up to who makes it.
func serial(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
