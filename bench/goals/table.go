package goals

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// Section is what a document says of goals; nothing of none.
func Section(all []Goal) string {
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	counts := map[Verdict]int{}
	for i := range all {
		for _, f := range all[i].Figures {
			counts[f.Verdict]++
		}
	}
	fmt.Fprintf(&b, "\nOf the figures that were wanted %d are met, %d missed, and %d were not measured in this run; "+
		"%d are stated, without a bound.\n\n", counts[Met], counts[Missed], counts[NotMeasured], counts[Stated])
	b.WriteString("| goal | what | figure | wanted | ± | arithmetic ± | |\n|---|---|---|---|---|---|---|\n")
	for i := range all {
		g := &all[i]
		fmt.Fprintf(&b, "| **%d. %s** | %s | | | | | |\n", g.Number, g.Name, g.Size)
		for k := range g.Figures {
			g.Figures[k].row(&b, g.Number)
		}
	}
	b.WriteString("\n")
	profiles(&b, all)
	return b.String()
}

func (f *Figure) row(b *strings.Builder, number int) {
	verdict := string(f.Verdict)
	if f.Verdict == Missed {
		verdict = "**missed**"
	}
	if f.Verdict == NotMeasured {
		if f.Why != "" {
			verdict += ": " + cell(f.Why)
		}
		fmt.Fprintf(b, "| %d | %s | – | %s | – | – | %s |\n", number, f.Name, f.wanted(), verdict)
		return
	}
	value := brief(f.Value, f.Unit)
	if f.Value == 0 && f.Of != "" && f.Spin == (bench.Spread{}) { // it failed
		value = "–"
	}
	if f.Of != "" {
		value += " (" + cell(f.Of) + ")"
	}
	fmt.Fprintf(b, "| %d | %s | %s | %s | %.0f %% | %.0f %% | %s |\n", number, f.Name, value, f.wanted(), 100*f.Noise,
		100*f.Spin.Noise(), verdict)
}

// wanted is the bound for people.
func (f *Figure) wanted() string {
	if f.Bound.Kind == "" {
		return "that it is known"
	}
	return f.Bound.Kind + " " + brief(f.Bound.Value, f.Unit)
}

func brief(v float64, unit string) string {
	text := fmt.Sprintf("%.2f", v)
	if v >= 100 || v == float64(int(v)) {
		text = fmt.Sprintf("%.0f", v)
	}
	if unit == "" {
		return text
	}
	return text + " " + unit
}

// cell is text that does not end a cell of a table.
func cell(text string) string { return strings.NewReplacer("|", "/", "\n", " ").Replace(text) }

// smallest share that a document names.
const smallest = 0.02

// profiles says why what is missed is.
func profiles(b *strings.Builder, all []Goal) {
	var rows strings.Builder
	for i := range all {
		g := &all[i]
		for _, load := range g.MissedLoads() {
			fmt.Fprintf(&rows, "| %d | %s | %s |\n", g.Number, cell(load), g.profile(load))
		}
	}
	if rows.Len() == 0 {
		return
	}
	b.WriteString("What is missed, and where the processor time of Mimir's nodes went under the same load once more, " +
		"or who had asked for what their heap held, by what the code is for; each sample counts once:\n\n" +
		"| goal | load | shares |\n|---|---|---|\n" +
		rows.String() + "\n")
}

// profile is that of a load for people.
func (g *Goal) profile(load string) string {
	i := slices.IndexFunc(g.Profiles, func(p Profile) bool { return p.Load == load })
	if i < 0 {
		return "no profile was taken"
	}
	p := &g.Profiles[i]
	if p.Why != "" {
		return "no profile: " + cell(p.Why)
	}
	var parts []string
	for _, s := range p.Shares {
		if s.Part >= smallest {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", s.Group, 100*s.Part))
		}
	}
	if p.Heap > 0 {
		return fmt.Sprintf("%s; of %d MB of heap", strings.Join(parts, ", "), p.Heap/1_000_000)
	}
	return fmt.Sprintf("%s; of %v", strings.Join(parts, ", "), p.Whole.Round(10*time.Millisecond))
}
