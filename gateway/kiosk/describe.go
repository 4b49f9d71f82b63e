package kiosk

import (
	"encoding/json"
	"errors"
	"net/http"

	"example.org/souk/gateway/door"
)

// describe makes routes of all operations, and publishes what they are.
func (g *gateway) describe() error {
	gate := g.door.Gate(Gate)
	a := newAPI(gate, g.tongues)
	g.describeCatalogue(a)
	g.describePeople(a)
	g.describeBaskets(a)
	g.describeOrders(a)
	schemas := a.OpenAPI().Components.Schemas.Map()
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // the library's own problems, which the door writes instead
		delete(schemas, unused)
	}
	document, err := json.MarshalIndent(a.OpenAPI(), "", "  ")
	if err := errors.Join(append(a.errs, err)...); err != nil {
		return err
	}
	return gate.Add(door.Route{Pattern: "GET " + rest + "/openapi.json", Public: true, Handle: func(w http.ResponseWriter, _ *door.Request) error {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, err := w.Write(document)
		return err
	}})
}
