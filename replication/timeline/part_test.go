package timeline

import (
	"slices"
	"testing"
)

// TestHistoriesPartWhereTheirChainsDo, or before it where nobody knows the chains any more.
func TestHistoriesPartWhereTheirChainsDo(t *testing.T) {
	const from, to = 100, 1000
	for parts := Position(from); parts < to; parts += 7 {
		for _, known := range []Position{0, from, from + 1, 500, to} {
			var asked []Position
			got := Part(from, to, func(p Position) Agreement {
				if p <= from || p >= to || slices.Contains(asked, p) {
					t.Fatalf("asked about %d after %v", p, asked)
				}
				asked = append(asked, p)
				switch {
				case p < known:
					return Unknown
				case p <= parts:
					return Agree
				default:
					return Differ
				}
			})
			want := parts
			if parts < known {
				want = from
			}
			if got != want || len(asked) > 12 {
				t.Errorf("part at %d, known from %d: %d, asked %d times", parts, known, got, len(asked))
			}
		}
	}
	if got := Part(7, 8, func(Position) Agreement { t.Fatal("asked in vain"); return Agree }); got != 7 {
		t.Errorf("%d", got)
	}
}

func TestTheChainsThatReignsTell(t *testing.T) {
	first := Reign{Epoch: 1, First: 1, Primary: "us"}
	second := Reign{Epoch: 2, First: 6, Primary: "eu", Previous: Chain{5}}
	other := Reign{Epoch: 2, First: 4, Primary: "ap", Previous: Chain{3}}
	a := Origin{Cursor: Cursor{2, 9, Chain{9}}, Reigns: []Reign{first, second}}
	for _, c := range []struct {
		reign Reign
		at    Position
		want  Chain
		ok    bool
	}{
		{first, 5, Chain{5}, true}, {second, 9, Chain{9}, true}, {first, 4, Chain{}, false}, {other, 9, Chain{}, false},
		{first, 0, NewFolder().Reign(Chain{}, first), true},
		{second, 5, NewFolder().Reign(Chain{5}, second), true},
	} {
		if got, ok := a.ChainAt(c.reign, c.at); got != c.want || ok != c.ok {
			t.Errorf("epoch %d at %d: %v, %t", c.reign.Epoch, c.at, got, ok)
		}
	}
	b := Origin{Cursor: Cursor{2, 7, Chain{7}}, Reigns: []Reign{first, other}}
	if r, began, last := Shared(a, b); r != first || began != 0 || last != 3 {
		t.Errorf("shared is epoch %d, from %d to %d", r.Epoch, began, last)
	}
	same := Origin{Cursor: Cursor{2, 8, Chain{8}}, Reigns: a.Reigns}
	if r, began, last := Shared(a, same); r != second || began != 5 || last != 8 {
		t.Errorf("shared is epoch %d, from %d to %d", r.Epoch, began, last)
	}
	none := Origin{Cursor: Cursor{1, 8, Chain{8}}, Reigns: []Reign{other}}
	if r, began, last := Shared(a, none); r != (Reign{}) || began|last != 0 {
		t.Errorf("shared is epoch %d, from %d to %d", r.Epoch, began, last)
	}
}
