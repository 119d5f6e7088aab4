package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
)

// release is the API server that "build" means. The packages that it is made of are published as 0.X.Y.
const release = "v1.37.2"

var (
	apiServer = flag.String("kube-apiserver", "",
		"the kube-apiserver to run; \"build\": "+release+", from the module proxy, once in half an hour; \"\": none")
	nodes = flag.Int("kube-nodes", 1, "nodes of each region")
)

func TestMain(m *testing.M) { os.Exit(withAPIServer(m)) }

func withAPIServer(m *testing.M) int {
	flag.Parse()
	for _, one := range []struct {
		binary *string
		build  func(dir string) (string, error)
	}{{apiServer, build}, {helmBinary, buildHelm}} {
		if *one.binary != "build" {
			continue
		}
		dir, err := os.MkdirTemp("", "kubernetes-")
		if err == nil {
			defer os.RemoveAll(dir)
			*one.binary, err = one.build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return fleet.Main(m)
}

// build builds the API server in a module of its own. That of Kubernetes names the packages that it is made of by their
// places in its repository: here they are what is published of the same release.
func build(dir string) (binary string, err error) {
	text, err := run(dir, "go", "mod", "download", "-json", "k8s.io/kubernetes@"+release)
	if err != nil {
		return "", err
	}
	var module struct{ GoMod string }
	if err := json.Unmarshal(text, &module); err != nil {
		return "", err
	}
	if text, err = run(dir, "go", "mod", "edit", "-json", module.GoMod); err != nil {
		return "", err
	}
	var file struct {
		Go      string
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return "", err
	}
	lines := []string{"module kubernetes", "go " + file.Go, "require k8s.io/kubernetes " + release}
	for _, r := range file.Replace {
		if strings.HasPrefix(r.New.Path, "./staging/") {
			minor := strings.TrimPrefix(release, "v1")
			lines = append(lines, fmt.Sprintf("replace %s => %[1]s v0%s", r.Old.Path, minor))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "kube-apiserver")
	flags := "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=" + release // helm asks which one it is
	_, err = run(dir, "go", "build", "-mod=mod", "-buildvcs=false", "-trimpath", flags, "-o", binary,
		"k8s.io/kubernetes/cmd/kube-apiserver")
	return binary, err
}

func run(dir, command string, arguments ...string) ([]byte, error) {
	c := exec.Command(command, arguments...)
	var errs bytes.Buffer
	c.Dir, c.Stderr = dir, &errs
	c.Env = append(os.Environ(), "GOWORK=off")
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out, err
}
