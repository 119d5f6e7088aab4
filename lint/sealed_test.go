package lint

import (
	"go/ast"
	"go/token"
	"testing"
)

// TestTheStateIsReadOnly keeps everybody but timeline from writing to what a State shows: to a field called State, to what a method State
// returns, or to a variable that holds one of these.
func TestTheStateIsReadOnly(t *testing.T) {
	for _, f := range tree(t) {
		if f.test || !within(f.room, "replication") || f.room == "replication/timeline" {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			for _, pos := range writesToState(fn.Body) {
				t.Errorf("%s: %s writes to a state; only timeline may", f.set.Position(pos), fn.Name.Name)
			}
		}
	}
}

// writesToState returns where body assigns to a part of a state.
func writesToState(body *ast.BlockStmt) (found []token.Pos) {
	holds := map[string]bool{} // variables
	write := func(to ast.Expr) {
		if _, whole := to.(*ast.Ident); !whole && showsState(part(to), holds) {
			found = append(found, to.Pos())
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch s := n.(type) {
		case *ast.IncDecStmt:
			write(s.X)
		case *ast.AssignStmt:
			for i, to := range s.Lhs {
				write(to)
				if v, ok := to.(*ast.Ident); ok && len(s.Rhs) == len(s.Lhs) {
					holds[v.Name] = showsState(s.Rhs[i], holds)
				}
			}
		}
		return true
	})
	return found
}

// part returns what the expression is a part of: one field or element less.
func part(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return e.X
	case *ast.IndexExpr:
		return e.X
	case *ast.StarExpr:
		return e.X
	default:
		return e
	}
}

// showsState reports whether the expression is a state, or a part of one.
func showsState(e ast.Expr, holds map[string]bool) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return holds[e.Name]
	case *ast.SelectorExpr:
		return e.Sel.Name == "State" || showsState(e.X, holds)
	case *ast.CallExpr:
		s, ok := e.Fun.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "State"
	case *ast.UnaryExpr:
		return showsState(e.X, holds)
	case *ast.IndexExpr:
		return showsState(e.X, holds)
	case *ast.StarExpr:
		return showsState(e.X, holds)
	case *ast.ParenExpr:
		return showsState(e.X, holds)
	default:
		return false
	}
}
