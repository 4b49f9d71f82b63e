package foreign

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
)

const schemaBase = "https://souk.example/schemas/"

// contracts compiles the schemas of the mall with a validator that others wrote.
func contracts(t *testing.T) (map[string]*jsonschema.Schema, map[string]any) {
	t.Helper()
	files, err := backbone.Contracts(house.Parts(house.Ports{}), backbone.ContractInfo{Title: "souk", Version: "1", Prefix: "souk", SchemaBase: schemaBase})
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled, document := map[string]*jsonschema.Schema{}, map[string]any{}
	for _, f := range files {
		content, err := jsonschema.UnmarshalJSON(bytes.NewReader(f.Data))
		if err != nil {
			t.Fatal(err)
		}
		name, isSchema := strings.CutPrefix(f.Path, "schemas/")
		if !isSchema {
			document = content.(map[string]any)
			continue
		}
		if err := compiler.AddResource(schemaBase+name, content); err != nil {
			t.Fatal(err)
		}
		compiled[strings.TrimSuffix(name, ".json")] = nil
	}
	for wire := range compiled {
		if compiled[wire], err = compiler.Compile(schemaBase + wire + ".json"); err != nil {
			t.Fatal(err)
		}
	}
	return compiled, document
}

// TestFrozenSamplesFitTheirSchemas holds every frozen sample of what crosses a border against the schema of its type,
// and sees that a sample that lacks a member, or has one of another type, does not fit.
func TestFrozenSamplesFitTheirSchemas(t *testing.T) {
	t.Parallel()
	schemas, _ := contracts(t)
	var samples []string
	for _, where := range []string{"mall", "gateway"} {
		found, err := filepath.Glob("../../" + where + "/*/testdata/souk.*.json")
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, found...)
	}
	judged := map[string]bool{}
	for _, path := range samples {
		wire := strings.TrimSuffix(filepath.Base(path), ".json")
		schema := schemas[wire]
		if schema == nil {
			continue // what a service keeps to itself has no contract
		}
		judged[wire] = true
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sample, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := schema.Validate(sample); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		members := sample.(map[string]any)
		members["added"] = "later" // contracts grow
		if err := schema.Validate(sample); err != nil {
			t.Errorf("%s with a member more: %v", path, err)
		}
		for _, name := range schema.Required {
			value := members[name]
			delete(members, name)
			if schema.Validate(sample) == nil {
				t.Errorf("%s fits without %s", path, name)
			}
			members[name] = []any{[]any{}}
			if schema.Validate(sample) == nil {
				t.Errorf("%s fits with %s of another type", path, name)
			}
			members[name] = value
		}
	}
	for wire := range schemas {
		if !judged[wire] {
			t.Errorf("%s has no frozen sample", wire)
		}
	}
	if len(judged) < 50 {
		t.Errorf("judged %d samples only", len(judged))
	}
}

// TestTheDocumentCarriesTheContracts finds every schema in the AsyncAPI document, as it stands in its own file.
func TestTheDocumentCarriesTheContracts(t *testing.T) {
	t.Parallel()
	schemas, document := contracts(t)
	if document["asyncapi"] != "3.0.0" {
		t.Errorf("version %v", document["asyncapi"])
	}
	messages := document["components"].(map[string]any)["messages"].(map[string]any)
	if len(messages) != len(schemas) {
		t.Errorf("%d messages for %d schemas", len(messages), len(schemas))
	}
	for wire := range schemas {
		message, _ := messages[wire].(map[string]any)
		payload, _ := message["payload"].(map[string]any)
		carried, _ := payload["schema"].(map[string]any)
		if carried["$id"] != schemaBase+wire+".json" {
			t.Errorf("%s carries %v", wire, carried["$id"])
		}
	}
	operations := document["operations"].(map[string]any)
	for _, name := range []string{"orders.publishes", "orders.handles", "orders.sends.inventory", "analytics.subscribes.orders"} {
		if operations[name] == nil {
			t.Errorf("no operation %s in %v", name, keys(operations))
		}
	}
	if _, err := json.Marshal(document); err != nil {
		t.Error(err)
	}
}

func keys(m map[string]any) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}
