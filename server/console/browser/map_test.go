package browser

import (
	"fmt"
	"strings"
	"testing"
)

// drawn is the map as somebody sees it, and what a screen reader reads instead.
type drawn struct {
	Places map[string]drawnPlace // by region
	Ways   map[string]drawnWay   // by who follows
	Words  []string
}

type drawnPlace struct{ Role, Text string }

type drawnWay struct {
	Connected bool
	Lag       string
}

const seeMap = `(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const lines = (g) => [...g.querySelectorAll("text")].map((t) => t.textContent).join(" | ");
  return {
    Places: Object.fromEntries(all("#map .place").map((g) => [g.dataset.region,
      { Role: g.dataset.role, Text: lines(g) }])),
    Ways: Object.fromEntries(all("#map .stream").map((g) => [g.dataset.to,
      { Connected: g.dataset.connected === "true", Lag: lines(g) }])),
    Words: all("#map-text > li").map((li) => li.textContent),
  };
})()`

func (v *visit) drawn() drawn {
	v.t.Helper()
	d, err := Evaluate[drawn](v.page, seeMap)
	if err != nil {
		v.t.Fatal(err)
	}
	return d
}

// The map shows who is primary and who follows whom through a failover, and its words say the same.
func TestTheMapThroughAFailover(t *testing.T) {
	b, f := started(t)
	us, eu := f.Region("us").Nodes[0], f.Region("eu").Nodes[0]
	v := opened(t, b, f, eu, desktop)
	says := func(d drawn, want string) bool {
		for _, text := range d.Words {
			if strings.Contains(text, want) {
				return true
			}
		}
		return false
	}
	var d drawn
	v.until("eu follows us", func(s *Seen) bool {
		d = v.drawn()
		return s.State == "well" && d.Ways["eu"].Connected && d.Ways["eu"].Lag == s.Regions["eu"].Lag
	})
	if len(d.Places) != 2 || len(d.Ways) != 1 ||
		d.Places["us"].Role != "primary" || d.Places["eu"].Role != "secondary" ||
		!strings.Contains(d.Places["us"].Text, "primary, takes writes | epoch 1, voters 1/1 | position 0") {
		t.Errorf("%+v", d)
	}
	if !says(d, "us is primary of epoch 1, at position 0") || !says(d, "eu is secondary of epoch 1") ||
		!says(d, "follows us, lag 0 commands") || len(d.Words) != 2 {
		t.Errorf("in words: %q", d.Words)
	}

	us.Kill()
	v.until("us is lost, and nobody has a stream from there", func(s *Seen) bool {
		d = v.drawn()
		return d.Places["us"].Role == "unknown" && !d.Ways["eu"].Connected && len(d.Places) == 2
	})
	if !says(d, "us: nobody of it answers") || strings.Contains(d.Places["us"].Text, "epoch") {
		t.Errorf("of a region that is lost: %+v", d)
	}
	text, err := f.Run(t.Context(), "mimir failover --to eu --force --endpoints "+eu.Config.ListenClient)
	if err != nil {
		t.Fatalf("%v %s", err, text)
	}
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	v.until("us follows eu", func(s *Seen) bool {
		d = v.drawn()
		return s.State == "well" && d.Ways["us"].Connected && d.Places["eu"].Role == "primary" && len(d.Ways) == 1 &&
			says(d, "eu is primary of epoch 2") && says(d, "follows eu, lag ")
	})
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// crowded draws fleets of one to ten regions at once, before another picture comes, and returns what lies over another
// place, or outside the map.
const crowded = `(() => {
  const wrong = [];
  for (let n = 1; n <= 10; n++) {
    const regions = Array.from({ length: n }, (_, i) => ({ name: "region-" + i, role: i ? "secondary" : "primary",
      epoch: "1", position: "1234567890", voters: "3/3", lag: "12345 commands, 1.2 MiB, 0.05 s", connected: true,
      source: i ? "region-0" : "" }));
    window.drawMap({ primary: "region-0", regions, voters: [{ name: "w", state: "supports the primary" }] });
    const svg = document.getElementById("map"), [, , wide, high] = svg.getAttribute("viewBox").split(" ").map(Number);
    const boxes = [...svg.querySelectorAll("rect")].map((r) => r.getBBox());
    if (boxes.length !== n || svg.querySelectorAll(".way").length !== n - 1) {
      wrong.push(n + ": places or ways are missing");
    }
    if (/NaN|Infinity/.test(svg.outerHTML)) wrong.push(n + ": a place is nowhere");
    boxes.forEach((a, i) => {
      if (a.x < 0 || a.y < 0 || a.x + a.width > wide || a.y + a.height > high) {
        wrong.push(n + ": place " + i + " is outside");
      }
      boxes.slice(i + 1).forEach((b, j) => {
        if (a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height) {
          wrong.push(n + ": places " + i + " and " + (i + 1 + j) + " lie over each other");
        }
      });
    });
    for (const t of svg.querySelectorAll(".place text")) {
      const box = t.getBBox(), around = t.parentElement.querySelector("rect").getBBox();
      if (box.width > around.width) wrong.push(n + ": a text is wider than its place: " + t.textContent);
    }
  }
  return wrong;
})()`

// However many regions there are, on a desk or a phone, no place lies over another, and none outside.
func TestTheMapHasRoom(t *testing.T) {
	b, f := started(t)
	for name, screen := range map[string]Screen{"desktop": desktop, "phone": phone} {
		v := opened(t, b, f, f.Region("us").Nodes[0], screen)
		v.until("the fleet is well", func(s *Seen) bool { return s.State == "well" })
		v.is(`import("./map.js").then((m) => { window.drawMap = m.showMap; }), true`)
		v.until("the map is at hand", func(*Seen) bool { return v.is(`window.drawMap !== undefined`) })
		wrong, err := Evaluate[[]string](v.page, crowded)
		if err != nil || len(wrong) > 0 {
			t.Errorf("%s: %v\n%s", name, err, strings.Join(wrong, "\n"))
		}
		if wide := v.is(`document.documentElement.scrollWidth > innerWidth`); wide {
			t.Errorf("%s: the page is wider than the screen", name)
		}
		if list := v.page.Problems(); len(list) > 0 {
			t.Errorf("in the page: %s", fmt.Sprint(list))
		}
	}
}
