package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Table writes the figures for people: medians with least and greatest, and souk's as shares of the others'.
func (f *Figures) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, system := range f.systems() {
		fmt.Fprintf(t, "\n%s\t", system)
		names := f.contenders(system)
		for _, name := range names {
			fmt.Fprintf(t, "%s\t", name)
		}
		fmt.Fprintf(t, "souk/raw\tsouk/raw, 8\tsouk/Watermill\tsouk/tuned\n")
		for _, measure := range f.measures(system) {
			fmt.Fprintf(t, "%s\t", measure)
			var spent bool
			for _, name := range names {
				g := f.of(system, measure, name)
				fmt.Fprintf(t, "%s\t", g.text())
				spent = spent || g != nil && g.Allocs > 0
			}
			own := f.of(system, measure, nameSouk)
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n",
				share(own, f.beside(system, measure)), share(own, f.of(system, measure, nameDivided)), share(own, f.of(system, measure, nameMill)), share(own, f.of(system, measure, nameTuned)))
			if !spent {
				continue
			}
			fmt.Fprintf(t, "   CPU us, allocations, bytes\t")
			for _, name := range names {
				text := ""
				if g := f.of(system, measure, name); g != nil {
					text = fmt.Sprintf("%.1f, %.0f, %.0f", g.CPUMicros, g.Allocs, g.Bytes)
				}
				fmt.Fprintf(t, "%s\t", text)
			}
			fmt.Fprintf(t, "\t\t\t\n")
		}
	}
	return t.Flush()
}

// JSON writes the figures for programs.
func (f *Figures) JSON(w io.Writer) error {
	type named struct {
		System  string  `json:"system"`
		Measure string  `json:"measure"`
		Of      string  `json:"of"`
		Median  float64 `json:"median"`
		Least   float64 `json:"least"`
		Most    float64 `json:"greatest"`
	}
	ratios := []named{}
	for _, g := range f.All {
		if g.Contender == nameSouk {
			continue
		}
		middle, least, greatest := ratio(f.of(g.System, g.Measure, nameSouk), g)
		if !math.IsNaN(middle) {
			ratios = append(ratios, named{g.System, g.Measure, g.Contender, middle, least, greatest})
		}
	}
	return json.NewEncoder(w).Encode(struct {
		Figures []*Figure `json:"figures"`
		Souk    []named   `json:"soukAsShareOf"`
	}{f.All, ratios})
}

// beside returns the figure of the client, or of what is written by hand with it, that souk is measured by.
func (f *Figures) beside(system, measure string) *Figure {
	if g := f.of(system, measure, nameRaw); g != nil {
		return g
	}
	return f.of(system, measure, nameHand)
}

// text is a figure in a cell.
func (g *Figure) text() string {
	if g == nil {
		return ""
	}
	if g.Median >= 1000 {
		return fmt.Sprintf("%.0f (%.0f..%.0f)", g.Median, g.Least, g.Greatest)
	}
	return fmt.Sprintf("%.2f (%.2f..%.2f)", g.Median, g.Least, g.Greatest)
}

func share(a, b *Figure) string {
	middle, least, greatest := ratio(a, b)
	if math.IsNaN(middle) {
		return ""
	}
	return fmt.Sprintf("%.2f (%.2f..%.2f)", middle, least, greatest)
}

func (f *Figures) systems() []string {
	return f.distinct(func(g *Figure) (string, bool) { return g.System, true })
}

func (f *Figures) measures(system string) []string {
	return f.distinct(func(g *Figure) (string, bool) { return g.Measure, g.System == system })
}

// contenders are in the order of their names' constants.
func (f *Figures) contenders(system string) (names []string) {
	for _, name := range []string{nameRaw, nameHand, nameBare, nameDivided, nameSouk, nameMill, nameTuned} {
		for _, g := range f.All {
			if g.System == system && g.Contender == name {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// distinct lists what is said of the figures, each once and in their order.
func (f *Figures) distinct(of func(*Figure) (string, bool)) (list []string) {
	seen := map[string]bool{}
	for _, g := range f.All {
		if name, ok := of(g); ok && !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	return list
}
