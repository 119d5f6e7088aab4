package space

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// groupLimit returns the least bound on memory of the control groups that this process is in, that of the innermost and
// of each around it; 0 if none bounds it. Root is the machine's tree of files. A container may see its own group as the
// outermost, under a name from outside: what is not there is passed over.
func groupLimit(root fs.FS) (least uint64) {
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for _, line := range append(strings.Split(string(groups), "\n"), "0::/", "0:memory:/") {
		_, line, _ = strings.Cut(line, ":")
		controllers, group, _ := strings.Cut(line, ":")
		dir, file := "sys/fs/cgroup", "memory.max" // version 2, which has one tree for all
		switch {
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case controllers != "":
			continue
		}
		for at := path.Clean("/" + group); ; at = path.Dir(at) {
			text, _ := fs.ReadFile(root, path.Join(dir, at, file))
			n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && n > 0 && (least == 0 || n < least) {
				least = n
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}
