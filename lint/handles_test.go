package lint

import (
	"go/ast"
	"slices"
	"testing"
)

// surfaces are the types by which an embedder has a node. Nothing else has the whole of it.
var surfaces = []string{
	"MultiRegionReplicator", "RaftReplicator", "Orders", "Reading", "Understanding", "Voting", "History", "Direct",
	"Topology",
}

// TestNobodyHoldsTheNode: what a part of the library needs, it is given as a narrow handle.
func TestNobodyHoldsTheNode(t *testing.T) {
	for _, f := range tree(t) {
		if f.room != "replication" || f.test {
			continue
		}
		for name, fields := range structs(f.ast) {
			for _, field := range fields.List {
				star, ok := field.Type.(*ast.StarExpr)
				if !ok || slices.Contains(surfaces, name) {
					continue
				}
				if of, ok := star.X.(*ast.Ident); ok && of.Name == "node" {
					t.Errorf("%s: %s holds the whole node", f.set.Position(field.Pos()), name)
				}
			}
		}
	}
}

// setLater are function fields that are set after their object was made: in a constructor, in a copy, and by tests.
var setLater = []string{
	"kv.stop", "replication/transport/grpc.Admit", "replication/durable/pagecache.fail",
	"replication/transport/memory.group",
}

// TestFunctionsAreGivenAtConstruction: a part that others have to hang functions into after it was made is in no whole
// state before, and nobody sees from it what it is tied to.
func TestFunctionsAreGivenAtConstruction(t *testing.T) {
	functions, others := map[string]bool{}, map[string]bool{} // by room and name
	each := func(do func(f file)) {
		for _, f := range tree(t) {
			if !f.test && (within(f.room, "replication") || within(f.room, "kv")) {
				do(f)
			}
		}
	}
	each(func(f file) {
		for _, fields := range structs(f.ast) {
			for _, field := range fields.List {
				_, is := field.Type.(*ast.FuncType)
				for _, name := range field.Names {
					key := f.room + "." + name.Name
					functions[key], others[key] = functions[key] || is, others[key] || !is
				}
			}
		}
	})
	each(func(f file) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.AssignStmt)
			if !ok {
				return true
			}
			for _, to := range s.Lhs {
				field, ok := to.(*ast.SelectorExpr)
				if !ok {
					continue
				}
				key := f.room + "." + field.Sel.Name
				if functions[key] && !others[key] && !slices.Contains(setLater, key) {
					t.Errorf("%s: %s is set after its object was made", f.set.Position(to.Pos()), field.Sel.Name)
				}
			}
			return true
		})
	})
}

// structs returns the fields of the types of a file that are structs, by name.
func structs(f *ast.File) map[string]*ast.FieldList {
	found := map[string]*ast.FieldList{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.TypeSpec); ok {
			if of, ok := s.Type.(*ast.StructType); ok {
				found[s.Name.Name] = of.Fields
			}
		}
		return true
	})
	return found
}
