package recall

import "testing"

func TestWhatIsRememberedOfANode(t *testing.T) {
	type said struct {
		disk  Disk
		index uint64
	}
	first, second := Disk{"a", 1, "x"}, Disk{"a", 2, "y"}
	for _, c := range []struct {
		name string
		said []said
		of   Disk
		want Seen
	}{
		{"nothing", nil, first, Seen{}},
		{"only what this process said", []said{{first, 7}}, first, Seen{}},
		{"what the process before it said", []said{{first, 7}, {first, 9}}, second, Seen{1, 9}},
		{"and spoke again", []said{{first, 9}, {second, 3}}, second, Seen{1, 9}},
		{"a copy that took the number of a start that was", []said{{first, 9}, {second, 12}}, Disk{"a", 2, "z"},
			Seen{2, 12}},
		{"a word of a process before, which came late", []said{{first, 7}, {second, 12}, {first, 8}}, second,
			Seen{1, 8}},
		{"and what the one said that lives", []said{{first, 7}, {second, 12}, {first, 8}}, Disk{"a", 3, "z"},
			Seen{2, 12}},
		{"another disk", []said{{first, 9}}, Disk{"b", 1, "z"}, Seen{}},
		{"a disk in its place", []said{{first, 9}, {Disk{"b", 1, "z"}, 2}}, Disk{"b", 2, "w"}, Seen{1, 2}},
		{"no name", []said{{Disk{}, 9}}, Disk{}, Seen{}},
	} {
		m := NewMemory()
		for _, s := range c.said {
			m.Note(5, Said{s.disk, s.index, ""})
		}
		if got, _ := m.Before(5, c.of); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := NewMemory()
	for id := range uint64(2 * maxNodes) {
		m.Note(id, Said{Disk{"a", 1, "x"}, 1, ""})
	}
	if len(m.nodes) != maxNodes {
		t.Errorf("remembers %d nodes", len(m.nodes))
	}
	if got, _ := m.Before(2*maxNodes-1, Disk{"a", 2, "y"}); got != (Seen{1, 1}) {
		t.Errorf("of the one that was heard last: %+v", got)
	}
}
