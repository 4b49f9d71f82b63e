package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A table is for people: amounts stand in it in major units, lists without brackets, and what is not there takes no room. Programs are given
// what was told as it is.
func TestTableIsForPeople(t *testing.T) {
	t.Parallel()
	const row = `{"order":"o-1","total":{"amount":4905,"currency":"EUR"},"yen":{"amount":7,"currency":"JPY"},"now":null,"none":{"amount":0,"currency":""},` +
		`"tables":["a","b"],"data":{"sku":"x"},"nothing":{},"n":3,"yes":true}`
	for form, want := range map[string]string{
		"table": "o-1 | 49.05 EUR | 7 JPY |  |  | a, b | {\"sku\":\"x\"} | {} | 3 | true", "jsonl": row,
	} {
		var out bytes.Buffer
		shown := newTable(&out, form)
		if err := shown.row(json.RawMessage(row)); err != nil {
			t.Fatal(err)
		}
		if form == "table" {
			_, values, err := members([]byte(row))
			if got := strings.Join(values, " | "); err != nil || got != want {
				t.Errorf("the cells are %s, want %s (%v)", got, want, err)
			}
		}
		if err := shown.end(); err != nil {
			t.Fatal(err)
		}
		if form == "jsonl" && out.String() != want+"\n" {
			t.Errorf("as %s it is %s", form, out.String())
		}
	}
}
