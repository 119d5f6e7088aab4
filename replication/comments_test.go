package replication_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// endsOfWrites are all kinds that a write can end with.
var endsOfWrites = []string{
	"ErrArgument", "ErrNotReady", "ErrLagging", "ErrTooLarge", "ErrUnknownRegion", "ErrRejected", "ErrNotLeader",
	"ErrUnknownOutcome", "ErrUnderReplicated", "ErrClosed", "ErrStopped",
}

// ends are the kinds that calls can end with, beside what every method can, by what is called.
var ends = map[string][]string{
	"MultiRegionReplicator.Propose": endsOfWrites,
	"Replicator.Apply": slices.DeleteFunc(slices.Clone(endsOfWrites), func(kind string) bool {
		return kind == "ErrUnknownRegion" || kind == "ErrNotLeader" // it takes no options
	}),
	"MultiRegionReplicator.Ask": {"ErrNotReady", "ErrRejected"},
	"MultiRegionReplicator.Switchover": {"ErrHandoff", "ErrUnknownOutcome", "ErrUnknownRegion", "ErrAlreadyPrimary",
		"ErrNotReady", "ErrRejected", "ErrNotLeader"},
	"MultiRegionReplicator.Failover": {"ErrNeedsForce", "ErrUnknownRegion", "ErrAlreadyPrimary", "ErrDiverged",
		"ErrNotReady", "ErrRejected", "ErrHandoff", "ErrNotLeader", "ErrUnknownOutcome"},
	"MultiRegionReplicator.FailoverWithin": {"ErrNotReady", "ErrArgument"},
	"MultiRegionReplicator.RegionFailover": {"ErrNotLeader", "ErrDiverged", "ErrNotReady", "ErrRejected", "ErrHandoff",
		"ErrUnknownOutcome"},
	"MultiRegionReplicator.TransferLeader": {"ErrNotLeader", "ErrMember", "ErrUnknownOutcome", "ErrNotReady",
		"ErrClosed", "ErrStopped"},
	"RaftReplicator.TransferLeader": {"ErrNotLeader", "ErrMember", "ErrUnknownOutcome", "ErrNotReady", "ErrClosed",
		"ErrStopped"},
	"Reading.ReadBarrier": {"ErrNotReady", "ErrDelayed", "ErrArgument", "ErrClosed", "ErrStopped"},
	"Reading.ReadWithin":  {"ErrNotReady", "ErrDelayed", "ErrClosed", "ErrStopped"},
	"Voting.Enable":       {"ErrArgument", "ErrRejected", "ErrNotReady", "ErrUnknownOutcome"},
}

// comments returns what is said of each method of this package, those of interfaces included, and of the package.
func comments(t *testing.T) (of map[string]string, whole string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	of = map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if name == "doc.go" {
			whole = file.Doc.Text()
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					of[receiver(n.Recv.List[0].Type)+"."+n.Name.Name] = n.Doc.Text()
				}
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok {
					for _, m := range i.Methods.List {
						for _, name := range m.Names {
							of[n.Name.Name+"."+name.Name] = m.Doc.Text()
						}
					}
				}
			}
			return true
		})
	}
	return of, whole
}

func receiver(of ast.Expr) string {
	if p, ok := of.(*ast.StarExpr); ok {
		of = p.X
	}
	name, _ := of.(*ast.Ident)
	return name.Name
}

var (
	kindName  = regexp.MustCompile(`\bErr[A-Z]\w*`)
	otherCall = regexp.MustCompile(`\b(?:[Aa]s of|those of|that of) ([A-Z]\w+)`)
)

// Who calls a method finds in its comment what it can end with, and comments speak of methods that there are.
func TestCommentsNameTheErrors(t *testing.T) {
	said, whole := comments(t)
	for call, kinds := range ends {
		missing(t, call, said[call], kinds)
	}
	names := map[string]bool{}
	for call := range said {
		_, name, _ := strings.Cut(call, ".")
		names[name] = true
	}
	for call, text := range said {
		for _, m := range otherCall.FindAllStringSubmatch(strings.Join(strings.Fields(text), " "), -1) {
			if !names[m[1]] {
				t.Errorf("%s speaks of %s, which there is not", call, m[1])
			}
		}
	}
	_, writing, _ := strings.Cut(whole, "# Writing")
	writing, _, _ = strings.Cut(writing, "# Reading")
	missing(t, "what an error of a write means", writing, endsOfWrites)
}

func missing(t *testing.T, where, text string, want []string) {
	t.Helper()
	has := kindName.FindAllString(text, -1)
	for _, kind := range want {
		if kinds[kind] == nil || !slices.Contains(has, kind) {
			t.Errorf("%s: %s is not named", where, kind)
		}
	}
}

// A kind that a forwarded write comes back with is one that a write can end with.
func TestWhatAForwardedWriteEndsWithIsNamed(t *testing.T) {
	source, err := os.ReadFile("internal/propose/format.go")
	if err != nil {
		t.Fatal(err)
	}
	_, back, _ := strings.Cut(string(source), "func resultOf(")
	for _, kind := range kindName.FindAllString(back, -1) {
		if !slices.Contains(endsOfWrites, kind) {
			t.Errorf("%s is not among the ends of a write", kind)
		}
	}
}
