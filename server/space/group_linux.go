package space

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// groupTree is a tree of control groups where it is mounted: dir, at which root is the outermost group. Each group has
// its bound in a file of one name.
type groupTree struct{ dir, root, file string }

// Names of the file that has the bound on memory, of version 1 and of version 2, which has one tree for all.
const (
	boundV1 = "memory.limit_in_bytes"
	boundV2 = "memory.max"
)

// groupTrees returns the trees that may bound memory, as they are mounted; without any, where they are as a rule.
func groupTrees(root fs.FS) (trees []groupTree) {
	mounts, _ := fs.ReadFile(root, "proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		place, source, _ := strings.Cut(line, " - ")
		at, kind := strings.Fields(place), strings.Fields(source)
		if len(at) < 5 || len(kind) < 3 {
			continue
		}
		t := groupTree{dir: unescaped.Replace(at[4]), root: unescaped.Replace(at[3])}
		switch {
		case kind[0] == "cgroup2":
			t.file = boundV2
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), "memory"):
			t.file = boundV1
		default:
			continue
		}
		trees = append(trees, t)
	}
	if len(trees) == 0 {
		trees = []groupTree{{"/sys/fs/cgroup", "/", boundV2}, {"/sys/fs/cgroup/memory", "/", boundV1}}
	}
	return trees
}

// unescaped has a path of mountinfo as it is.
var unescaped = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// groupLimit returns the least bound on memory of the control groups that this process is in, that of the innermost and
// of each around it; 0 if none bounds it. Root is the machine's tree of files. A container may see its own group as the
// outermost, under a name from outside: what is not there is passed over.
func groupLimit(root fs.FS) (least uint64) {
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	trees := groupTrees(root)
	for _, line := range append(strings.Split(string(groups), "\n"), "0::/", "0:memory:/") {
		_, line, _ = strings.Cut(line, ":")
		controllers, group, _ := strings.Cut(line, ":")
		file := boundV2
		switch {
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			file = boundV1
		case controllers != "":
			continue
		}
		outermost, found := "", false
		for _, t := range trees {
			if t.file != file {
				continue
			}
			if outermost == "" {
				outermost = t.dir
			}
			if inside, ok := t.inside(group); ok {
				least, found = lesser(least, boundWithin(root, t.dir, inside, file)), true
			}
		}
		if !found && outermost != "" {
			least = lesser(least, boundWithin(root, outermost, "/", file))
		}
	}
	return least
}

// inside returns where a group is below the directory of the tree, and whether it is in the tree at all.
func (t groupTree) inside(group string) (string, bool) {
	if group == "/.." || strings.HasPrefix(group, "/../") { // of a namespace that it is not in
		return "", false
	}
	inside, ok := strings.CutPrefix(path.Clean("/"+group), strings.TrimSuffix(path.Clean("/"+t.root), "/"))
	return path.Clean("/" + inside), ok && (inside == "" || inside[0] == '/')
}

// boundWithin returns the least bound of a group and of those around it, up to the outermost in dir; 0: none has one.
func boundWithin(root fs.FS, dir, group, file string) (least uint64) {
	for at := group; ; at = path.Dir(at) {
		text, _ := fs.ReadFile(root, strings.TrimPrefix(path.Join(dir, at, file), "/"))
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
			least = lesser(least, n)
		}
		if at == "/" {
			return least
		}
	}
}

// lesser returns the lesser of two bounds, of which 0 is none.
func lesser(a, b uint64) uint64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
