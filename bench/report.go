package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Table writes the figures for people: medians with least and greatest, and what souk's are of each other's.
func (f *Figures) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, system := range f.systems() {
		fmt.Fprintf(t, "\n%s\tmedian (least..greatest)\tsouk is of it\tCPU us\tallocations\tbytes\n", system)
		for _, measure := range f.measures(system) {
			fmt.Fprintf(t, "%s\t\t\t\t\t\n", measure)
			own := f.of(system, measure, nameSouk)
			for _, name := range contenders {
				g := f.of(system, measure, name)
				if g == nil {
					continue
				}
				fmt.Fprintf(t, "  %s\t%s\t%s\t", name, g.text(), share(own, g))
				if g.Allocs > 0 {
					fmt.Fprintf(t, "%.1f\t%.0f\t%.0f\n", g.CPUMicros, g.Allocs, g.Bytes)
				} else {
					fmt.Fprintf(t, "\t\t\n")
				}
			}
		}
	}
	return t.Flush()
}

// contenders are in the order in which they are shown.
var contenders = []string{nameRaw, nameHand, nameDivided, nameBare, nameSouk, nameMill, nameTuned}

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

// text is a figure in a cell.
func (g *Figure) text() string {
	if g.Median >= 1000 {
		return fmt.Sprintf("%.0f (%.0f..%.0f) %s", g.Median, g.Least, g.Greatest, g.Unit)
	}
	return fmt.Sprintf("%.2f (%.2f..%.2f) %s", g.Median, g.Least, g.Greatest, g.Unit)
}

func share(a, b *Figure) string {
	middle, least, greatest := ratio(a, b)
	if a == b || math.IsNaN(middle) {
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
