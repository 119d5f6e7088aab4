package browser

import "fmt"

// Seen is what somebody who looks at the page reads.
type Seen struct {
	State, StateText             string // well, wrong, silent or waiting; and the words
	Title, Primary, Epoch, Asked string
	Wrong, Told, Votes, Commands []string
	Regions                      map[string]SeenRegion
}

// SeenRegion is the card of a region.
type SeenRegion struct {
	Role, Doing, Problem, Epoch, Position, Revision, Leader, Voters, Lag string
	NodeLoss, RegionLoss                                                 string // what it costs
	Nodes                                                                [][]string
	// Lines are by name, as a screen reader has them.
	Lines map[string]string
}

// Writes are the regions of which it says that they take writes.
func (s *Seen) Writes() (list []string) {
	for name, r := range s.Regions {
		if r.Doing == "takes writes" {
			list = append(list, name)
		}
	}
	return list
}

const see = `(() => {
  const text = (e) => (e && !e.closest("[hidden]") ? e.textContent : "");
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const id = (name) => text(document.getElementById(name));
  const lines = (name) => all("#" + name + " > li").map((li) => text(li.querySelector("span") || li));
  const regions = {};
  for (const card of all("#regions > article")) {
    const of = (name) => text(card.querySelector("[data-of=" + name + "]"));
    regions[of("name")] = {
      Role: of("role"), Doing: of("doing"), Problem: of("problem"), Epoch: of("epoch"), Position: of("position"),
      Revision: of("revision"), Leader: of("leader"), Voters: of("voters"), Lag: of("lag"),
      NodeLoss: card.querySelector("[data-of=nodeLoss]").dataset.cost,
      RegionLoss: card.querySelector("[data-of=regionLoss]").dataset.cost,
      Nodes: all("tbody tr", card).map((tr) => [...tr.children].map((c) => c.textContent)),
      Lines: Object.fromEntries(all("figure", card).filter((f) => !f.hidden).map((f) =>
        [f.querySelector("span").textContent, f.querySelector("svg").getAttribute("aria-label")])),
    };
  }
  return {
    State: document.getElementById("state")?.dataset.is ?? "", StateText: id("state"), Title: document.title,
    Primary: id("primary"), Epoch: id("epoch"), Asked: id("asked"), Wrong: lines("wrong"), Told: lines("told"),
    Votes: lines("votes"), Commands: all("#wrong pre").map((p) => p.textContent), Regions: regions,
  };
})()`

// See returns what the page says now; nothing, while it is loaded.
func (p *Page) See() (*Seen, error) {
	s, err := Evaluate[Seen](p, see)
	if err != nil {
		return nil, fmt.Errorf("look at the page: %w", err)
	}
	return &s, nil
}
