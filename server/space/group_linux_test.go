package space

import (
	"testing"
	"testing/fstest"
)

func TestTheLeastGroupBoundsMemory(t *testing.T) {
	const (
		groups  = "proc/self/cgroup"
		service = "0::/system.slice/mimir.service\n"
		own     = "sys/fs/cgroup/system.slice/mimir.service/memory.max"
		around  = "sys/fs/cgroup/system.slice/memory.max"
		outer   = "sys/fs/cgroup/memory.max"
		old     = "sys/fs/cgroup/memory/memory.limit_in_bytes"
		oldPod  = "sys/fs/cgroup/memory/pod/a/memory.limit_in_bytes"
	)
	for name, c := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"nothing is known":           {nil, 0},
		"unbounded":                  {map[string]string{groups: service, own: "max\n"}, 0},
		"a service":                  {map[string]string{groups: service, own: "1000\n"}, 1000},
		"its slice is less":          {map[string]string{groups: service, own: "1000\n", around: "800\n"}, 800},
		"a container":                {map[string]string{groups: "0::/docker/c0ffee\n", outer: "700\n"}, 700},
		"a container from elsewhere": {map[string]string{groups: "0::/../../x\n", outer: "500\n"}, 500},
		"nobody names the group":     {map[string]string{outer: "700\n"}, 700},
		"version 1": {map[string]string{groups: "5:cpu:/x\n4:rdma,memory:/pod/a\n0::/\n", oldPod: "600\n",
			old: "9223372036854771712\n"}, 600},
	} {
		root := fstest.MapFS{}
		for path, text := range c.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := groupLimit(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
