package backbone_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// A made-up house: a bakery takes orders, an oven bakes, a window shows.

type placed struct {
	Order string    `json:"order"`
	Cakes []string  `json:"cakes"`
	Note  string    `json:"note,omitempty"`
	Due   time.Time `json:"due"`
}

type baked struct {
	Order string `json:"order"`
	Tray  *int   `json:"tray"`
}

type (
	noted   struct{ Order string }
	refused struct {
		Order  string         `json:"order"`
		Counts map[string]int `json:"counts"`
	}
)

func (placed) EventType() string  { return "bakery.orders.Placed.v1" }
func (noted) EventType() string   { return "bakery.orders.Noted.v1" }
func (refused) EventType() string { return "bakery.orders.Refused.v2" }
func (baked) EventType() string   { return "bakery.oven.Baked.v1" }

type (
	place    struct{ Order string }
	turnDown struct{ Order string }
	bake     struct {
		Order string `json:"order"`
	}
	cool struct {
		Order string `json:"order"`
	}
)

func (place) CommandType() string    { return "bakery.orders.Place.v1" }
func (turnDown) CommandType() string { return "bakery.orders.TurnDown.v1" }
func (bake) CommandType() string     { return "bakery.oven.Bake.v1" }
func (cool) CommandType() string     { return "bakery.oven.Cool.v1" }
func (c place) Stream() string       { return c.Order }
func (c turnDown) Stream() string    { return c.Order }
func (c bake) Stream() string        { return c.Order }
func (c cool) Stream() string        { return c.Order }

type smsRequest struct{ To string }

type sender struct{}

func (sender) Call(context.Context, backbone.CallRequest, smsRequest) (any, error) { return nil, nil }

func (sender) Ask(context.Context, backbone.CallRequest, smsRequest) (any, bool, error) {
	return nil, false, nil
}

func decideNothing[C backbone.Command](struct{}, C, backbone.Meta) ([]backbone.Event, error) {
	return nil, nil
}

func project[E backbone.Event](context.Context, backbone.ViewTx, E) error { return nil }

func bakery() []*backbone.Service {
	keep := func(s struct{}, _ backbone.Event) struct{} { return s }
	order := &backbone.Aggregate[struct{}]{Name: "order", Public: []backbone.Event{placed{}, refused{}}, Private: []backbone.Event{noted{}}, Evolve: keep}
	batch := &backbone.Aggregate[struct{}]{Name: "batch", Public: []backbone.Event{baked{}}, Evolve: keep}
	baking := &backbone.Saga[string]{
		Name: "baking", Version: 1,
		Starts: backbone.StartsOn(func(e placed, _ backbone.Meta) (string, string) { return e.Order, e.Order }),
		Steps: []backbone.Step[string]{{
			Name: "bake", Pivot: true, Timeout: time.Hour,
			Do:   func(o string) backbone.Command { return bake{o} },
			Undo: func(o string) backbone.Command { return cool{o} },
		}, {
			Name:  "give up",
			Local: func(o string) backbone.Command { return turnDown{o} },
		}},
		Advances: []backbone.SagaAdvance[string]{backbone.AdvancesOn("bake", func(e baked) string { return e.Order },
			func(d string, _ baked, _ backbone.Meta) (string, []backbone.Command, backbone.Progress) {
				return d, nil, backbone.Next
			})},
	}
	return []*backbone.Service{{
		Name: "orders", About: "Takes orders for cakes.",
		Handles: []backbone.Handler{backbone.Decide(order, decideNothing[place]), backbone.Decide(order, decideNothing[turnDown])},
		Reacts:  []backbone.Subscriber{backbone.Whenever(func(noted, backbone.Meta) []backbone.Effect { return nil })},
		Sagas:   []backbone.SagaDefinition{baking},
		Calls:   []backbone.CallType{backbone.CallTo("sms", backbone.Caller[smsRequest](sender{}), func(smsRequest, backbone.CallOutcome) backbone.Command { return nil })},
		Views:   []backbone.View{{Name: "book", Inline: true, Projections: []backbone.Projection{backbone.Project(project[placed])}}},
	}, {
		Name:    "oven",
		Handles: []backbone.Handler{backbone.Decide(batch, decideNothing[bake]), backbone.Decide(batch, decideNothing[cool])},
		Sends:   []backbone.Command{},
	}, {
		Name: "window", About: "Shows what is fresh.",
		Sends: []backbone.Command{bake{}},
		Views: []backbone.View{
			backbone.ViewOf("fresh", backbone.FromFirst, project[baked]).KeyedBy(func(e baked) string { return e.Order }),
			{Name: "wanted", Tables: []string{"wanted", "wishes"}, Projections: []backbone.Projection{backbone.Project(project[placed]), backbone.Project(project[refused])}},
		},
	}}
}

// golden compares with a file, which the flag -rewrite writes.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "describe", name)
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

func TestMapIsDrawnInEveryForm(t *testing.T) {
	t.Parallel()
	if err := backbone.Check(bakery()); err != nil {
		t.Fatal(err)
	}
	for range 10 { // the same to the letter each time
		m := backbone.Describe(bakery())
		golden(t, "map.txt", []byte(m.Text()))
		golden(t, "map.mermaid", []byte(m.Mermaid()))
		golden(t, "hexagons.txt", []byte(m.Hexagons()))
		data, err := m.JSON()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "map.json", append(data, '\n'))
	}
}

func TestContractsAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	for range 10 {
		files, err := backbone.Contracts(bakery(), backbone.ContractInfo{Title: "Bakery", Version: "1", Prefix: "bakery", SchemaBase: "https://bakery.example/"})
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, f := range files {
			paths = append(paths, f.Path)
			golden(t, strings.ReplaceAll(f.Path, "/", "-"), f.Data)
		}
		if want := []string{
			"asyncapi.json", "schemas/bakery.orders.Place.v1.json", "schemas/bakery.orders.Placed.v1.json", "schemas/bakery.orders.Refused.v2.json",
			"schemas/bakery.orders.TurnDown.v1.json", "schemas/bakery.oven.Bake.v1.json", "schemas/bakery.oven.Baked.v1.json", "schemas/bakery.oven.Cool.v1.json",
		}; !slices.Equal(paths, want) {
			t.Errorf("files %q, want %q", paths, want)
		}
	}
}

// TestReferencesOfTheDocumentResolve follows every $ref of the AsyncAPI document.
func TestReferencesOfTheDocumentResolve(t *testing.T) {
	t.Parallel()
	files, err := backbone.Contracts(bakery(), backbone.ContractInfo{Title: "Bakery", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(files[0].Data, &document); err != nil {
		t.Fatal(err)
	}
	followed := 0
	var follow func(any)
	follow = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, child := range n {
				follow(child)
			}
		case map[string]any:
			if ref, ok := n["$ref"].(string); ok {
				followed++
				at := document
				for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
					members, _ := at.(map[string]any)
					at = members[name]
				}
				if at == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, child := range n {
				follow(child)
			}
		}
	}
	follow(document)
	if followed < 20 {
		t.Errorf("followed %d references only", followed)
	}
}

func TestContractsOfAPartsListThatDoesNotHold(t *testing.T) {
	t.Parallel()
	if _, err := backbone.Contracts(bakery()[:1], backbone.ContractInfo{}); err == nil || !strings.Contains(err.Error(), "bakery.oven.Bake.v1") {
		t.Errorf("error %v", err)
	}
}
