// Package chart renders the Helm chart of one region, and packs it.
//
// It promises that what is packed is the chart as it stands in its folder, with the version that is released.
package chart

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"

	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/deploy/packages/packing"
)

//go:embed all:mimir
var sources embed.FS

// Files returns the chart as it is packed for a version.
func Files(s build.Stamp) (files []packing.File, err error) {
	err = fs.WalkDir(sources, "mimir", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		if path == "mimir/Chart.yaml" {
			text = []byte(strings.NewReplacer("\nversion: 0.0.0", "\nversion: "+s.Number(),
				"\nappVersion: v0.0.0", "\nappVersion: "+s.Version).Replace(string(text)))
		}
		files = append(files, packing.File{Name: path, Mode: 0o644, Text: text})
		return nil
	})
	return files, err
}

// Write packs the chart for a version, as helm package does.
func Write(s build.Stamp, to io.Writer) error {
	files, err := Files(s)
	if err != nil {
		return err
	}
	return packing.TarGzip(to, files, s.Date)
}

// Release is what a chart is installed as.
type Release struct {
	Name      string
	Namespace string
	Values    map[string]any // over those of the chart
}

// Render returns the text of each template of the chart for a release, by its path. Values that the chart's schema
// refuses are an error.
func Render(s build.Stamp, r Release) (map[string]string, error) {
	files, err := Files(s)
	if err != nil {
		return nil, err
	}
	var buffered []*archive.BufferedFile
	for _, f := range files {
		buffered = append(buffered, &archive.BufferedFile{Name: strings.TrimPrefix(f.Name, "mimir/"), Data: f.Text})
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
	return render(c, r)
}

func render(c *chart.Chart, r Release) (map[string]string, error) {
	options := common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(c, r.Values, options, common.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values of release %s: %w", r.Name, err)
	}
	texts, err := engine.Render(c, values)
	if err != nil {
		return nil, fmt.Errorf("render release %s: %w", r.Name, err)
	}
	return texts, nil
}
