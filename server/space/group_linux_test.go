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
		mounts  = "proc/self/mountinfo"
		inPod   = "31 30 0:28 /pod/a /sys/fs/cgroup/memory ro,nosuid shared:9 - cgroup cgroup rw,memory\n"
		unified = "40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
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
		"a service in a container of version 1": {map[string]string{
			groups: "4:memory:/pod/a/system.slice/mimir.service\n",
			mounts: inPod, old: "900\n",
			"sys/fs/cgroup/memory/system.slice/mimir.service/memory.limit_in_bytes": "400\n"}, 400},
		"a container of version 1": {map[string]string{groups: "4:memory:/pod/a\n", mounts: inPod, old: "900\n",
			"sys/fs/cgroup/memory/pod/a/memory.limit_in_bytes": "1\n"}, 900}, // which is a group inside
		"a group beside the container's": {map[string]string{groups: "4:memory:/pod/ab\n", mounts: inPod, old: "900\n",
			"sys/fs/cgroup/memory/b/memory.limit_in_bytes": "1\n"}, 900},
		"both versions, and memory in the newer one": {map[string]string{
			groups: "4:cpu:/x\n" + service, mounts: unified,
			"sys/fs/cgroup/unified/system.slice/mimir.service/memory.max": "300\n"}, 300},
		"both versions, and memory in the older one": {map[string]string{groups: "4:memory:/pod/a\n0::/\n",
			mounts: "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" + unified,
			oldPod: "600\n"}, 600},
		"mounted at another place": {map[string]string{groups: service,
			mounts:                            "40 30 0:37 / /a\\040place rw - cgroup2 none rw\n",
			"a place/system.slice/memory.max": "200\n"}, 200},
		"somebody else's groups are mounted too": {map[string]string{groups: service, own: "1000\n",
			mounts: "40 30 0:37 / /sys/fs/cgroup rw - cgroup2 none rw\n" +
				"41 30 0:37 /other /other rw - cgroup2 none rw\n",
			"other/memory.max": "1\n"}, 1000},
		"elsewhere, and a group inside has that name": {map[string]string{groups: "0::/../x\n", outer: "500\n",
			"sys/fs/cgroup/x/memory.max": "1\n"}, 500},
		"what is no number": {map[string]string{groups: service, own: "-1\n", around: "18446744073709551616\n",
			outer: "0\n"}, 0},
		"mounts that cannot be read": {map[string]string{groups: service, own: "1000\n", mounts: "40 30\n - \n"}, 1000},
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
