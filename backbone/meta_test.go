package backbone

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// Whatever stands in a record, its meta is read as encoding/json reads it.
func TestDecodeMetaAsJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,12}`), rapid.String())
	whole := rapid.Custom(func(t *rapid.T) string {
		m := Meta{
			Actor: text.Draw(t, "actor"), Correlation: text.Draw(t, "correlation"), Causation: text.Draw(t, "causation"),
			Trace: text.Draw(t, "trace"), ReplyTo: text.Draw(t, "replyto"),
		}
		return string(encodeMeta(&m))
	})
	// What someone else wrote: members twice, unknown, empty, of other types, cut off.
	odd := rapid.StringMatching(`\{("(actor|replyto|x)":("[a-z\\"]{0,3}"|1|null|\{\}),?){0,3}\}?`)
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(rapid.OneOf(whole, odd).Draw(t, "data"))
		var want wireMeta
		wrong := json.Unmarshal(data, &want)
		got, err := decodeMeta(data)
		if (err == nil) != (wrong == nil) || (err == nil && got != want) {
			t.Fatalf("%s: %+v %v, encoding/json reads %+v %v", data, got, err, want, wrong)
		}
	})
}

func BenchmarkDecodeMeta(b *testing.B) {
	m := Meta{
		Actor: "customer:CUSTOMER_001", Correlation: "06gzvkg9m1kymwhbtc84f4agy4", Causation: "06gzvkg9m1kymwhbtc84f4agy5",
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ReplyTo: "orders/checkout/ORDER_001/2",
	}
	data := encodeMeta(&m)
	b.Run("here", func(b *testing.B) {
		for b.Loop() {
			if _, err := decodeMeta(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			var w wireMeta
			if err := json.Unmarshal(data, &w); err != nil {
				b.Fatal(err)
			}
		}
	})
}
