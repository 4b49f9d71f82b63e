package backbone

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Text returns the map as a page for a terminal: a paragraph a service, full wire
// names.
func (m Map) Text() string {
	var b strings.Builder
	for i, s := range m.Services {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.Name)
		if s.About != "" {
			b.WriteString(": " + s.About)
		}
		b.WriteByte('\n')
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, h := range s.Handles {
			fmt.Fprintf(w, "  handles\t%s\ton %s\n", h.Command, strings.Join(h.Aggregates, ", "))
		}
		for _, a := range s.Aggregates {
			for _, e := range a.Public {
				fmt.Fprintf(w, "  publishes\t%s\tof %s\n", e, a.Name)
			}
			for _, e := range a.Private {
				fmt.Fprintf(w, "  keeps\t%s\tof %s\n", e, a.Name)
			}
		}
		for _, e := range s.Publishes {
			fmt.Fprintf(w, "  publishes\t%s\tby a program of its own\n", e)
		}
		for _, e := range s.Reacts {
			fmt.Fprintf(w, "  reacts\t%s\t\n", e)
		}
		for _, sub := range s.Subscribes {
			fmt.Fprintf(w, "  subscribes\t%s\tof %s, from %s%s%s\n", sub.Event, sub.Owner, sub.From, prefixed(", for saga ", sub.Saga), prefixed(", after view ", sub.After))
		}
		for _, c := range s.Sends {
			if c.Saga == "" { // what a saga sends stands in its steps
				fmt.Fprintf(w, "  sends\t%s\tto %s\n", c.Command, c.To)
			}
		}
		for _, saga := range s.Sagas {
			fmt.Fprintf(w, "  saga\t%s v%d\tstarts on %s\n", saga.Name, saga.Version, saga.Starts)
			for _, st := range saga.Steps {
				fmt.Fprintf(w, "    %s\t%s\t%s\n", st.Name, st.Command, stepNotes(st))
			}
			for _, e := range saga.Events {
				fmt.Fprintf(w, "    on\t%s\t%s\n", e.Event, e.Does)
			}
		}
		for _, c := range s.Calls {
			asks := ""
			if c.Asks {
				asks = ", asked before it is repeated"
			}
			fmt.Fprintf(w, "  calls\t%s\twithin %s%s\n", c.Name, c.Timeout, asks)
		}
		for _, v := range s.Views {
			fmt.Fprintf(w, "  view\t%s\t%s\n", v.Name, viewNotes(v))
			for _, e := range v.Events {
				fmt.Fprintf(w, "    shows\t%s\tof %s\n", e.Event, e.Owner)
			}
		}
		_ = w.Flush() // a strings.Builder takes everything
	}
	return trimLines(b.String())
}

func stepNotes(st SagaStep) string {
	var notes []string
	if st.Local {
		notes = append(notes, "its own")
	} else {
		notes = append(notes, "answer within "+st.Timeout+" or "+st.OnTimeout)
	}
	if st.Undo != "" {
		notes = append(notes, "undone by "+st.Undo)
	}
	if st.Pivot {
		notes = append(notes, "pivot")
	}
	return strings.Join(notes, ", ")
}

func viewNotes(v MapView) string {
	notes := "in " + strings.Join(v.Tables, ", ")
	if v.Inline {
		notes += ", with the events"
	}
	if v.Keyed {
		notes += ", under a key of its own"
	}
	return notes
}

// Mermaid returns the map as a Mermaid flowchart: a solid arrow carries commands
// to the service that handles them, a dashed arrow events to a service that
// subscribes, a thick one calls to the outside.
func (m Map) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, s := range m.Services {
		fmt.Fprintf(&b, "  s_%s{{\"%s\"}}\n", s.Name, s.Name)
		for _, c := range s.Calls {
			fmt.Fprintf(&b, "  o_%s_%s([\"%s\"])\n", s.Name, mermaidID(c.Name), mermaidText(c.Name))
		}
	}
	for _, s := range m.Services {
		commands := map[string][]string{}
		for _, send := range s.Sends {
			if send.To != "" {
				commands[send.To] = append(commands[send.To], shortName(send.Command))
			}
		}
		for _, to := range sortedKeys(commands) {
			fmt.Fprintf(&b, "  s_%s -->|\"%s\"| s_%s\n", s.Name, strings.Join(commands[to], "<br/>"), to)
		}
		takes := s.takes()
		for _, owner := range sortedKeys(takes) {
			if owner == "" {
				continue
			}
			names := make([]string, len(takes[owner]))
			for i, e := range takes[owner] {
				names[i] = shortName(e)
			}
			fmt.Fprintf(&b, "  s_%s -.->|\"%s\"| s_%s\n", owner, strings.Join(names, "<br/>"), s.Name)
		}
		for _, c := range s.Calls {
			fmt.Fprintf(&b, "  s_%s ==> o_%s_%s\n", s.Name, s.Name, mermaidID(c.Name))
		}
	}
	return b.String()
}

// mermaidID keeps what Mermaid takes in the name of a node.
func mermaidID(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

func mermaidText(text string) string { return strings.ReplaceAll(text, `"`, "#quot;") }

// Hexagons draws each service as the hexagon that it is: what comes in at the
// left, what goes out at the right. Commands have solid arrows, events dashed
// ones, calls to the outside double ones; views stand at the right in brackets.
func (m Map) Hexagons() string {
	var b strings.Builder
	for i, s := range m.Services {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.hexagon(&b)
	}
	return b.String()
}

const (
	commandArrow = "───▶"
	eventArrow   = "╌╌╌▶"
	callArrow    = "═══▶"
)

func (s *MapService) hexagon(b *strings.Builder) {
	var in, out []string
	for _, h := range s.Handles {
		in = append(in, shortName(h.Command)+" "+commandArrow)
	}
	takes := s.takes()
	for _, owner := range sortedKeys(takes) {
		for _, e := range takes[owner] {
			in = append(in, owner+": "+shortName(e)+" "+eventArrow)
		}
	}
	for _, e := range s.public() {
		out = append(out, eventArrow+" "+shortName(e))
	}
	for _, send := range s.Sends {
		out = append(out, commandArrow+" "+send.To+": "+shortName(send.Command))
	}
	for _, c := range s.Calls {
		out = append(out, callArrow+" "+c.Name)
	}
	for _, v := range s.Views {
		out = append(out, "["+v.Name+"]")
	}
	rows, width := max(len(in), len(out), 1), 0
	for _, text := range in {
		width = max(width, utf8.RuneCountInString(text))
	}
	inner := max(utf8.RuneCountInString(s.Name)+4, 12)
	margin := strings.Repeat(" ", width+1)
	b.WriteString(margin + "  " + strings.Repeat("_", inner-2) + "\n")
	b.WriteString(margin + " /" + strings.Repeat(" ", inner-2) + "\\\n")
	for row := range rows {
		left, right, name := "", "", ""
		if row < len(in) {
			left = in[row]
		}
		if row < len(out) {
			right = out[row]
		}
		if row == (rows-1)/2 {
			name = s.Name
		}
		free := inner - utf8.RuneCountInString(name)
		line := strings.Repeat(" ", width-utf8.RuneCountInString(left)) + left + " |" +
			strings.Repeat(" ", free/2) + name + strings.Repeat(" ", free-free/2) + "| " + right
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString(margin + " \\" + strings.Repeat("_", inner-2) + "/\n")
}

// prefixed puts text before a name, if there is one.
func prefixed(text, name string) string {
	if name == "" {
		return ""
	}
	return text + name
}

// trimLines takes the spaces off the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
