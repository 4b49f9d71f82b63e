package devices

import (
	"reflect"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// What is too late within seconds stands in no line behind what may wait for a day: sixteen bills that are slow to be told would keep a gate shut. Red
// when a welcome or an order to a gate is called as bills are.
func TestWhatIsUrgentIsToldApart(t *testing.T) {
	t.Parallel()
	m := backbone.Meta{ID: "e1", Time: time.Unix(1000, 0)}
	welcome, opened := event.WelcomeShown{Visit: "v"}, GateOpened{Device: "gate-1"}
	due, restock := event.PaymentDue{Visit: "v"}, event.RestockNeeded{SKU: "lamp", Location: mall.MainLocation}
	for name, c := range map[string]struct{ got, want []backbone.Effect }{
		"welcome": {tellWelcome(welcome, m), tell(tellNowName, m, "v", welcomeFor, Notice{Welcome: &welcome})},
		"gate":    {tellGate(opened, m), tell(tellNowName, m, "gate-1", openFor, Notice{Open: &opened})},
		"bill":    {tellDue(due, m), tell(tellName, m, "v", tellFor, Notice{Due: &due})},
		"restock": {tellRestock(restock, m), tell(tellName, m, mall.StockID("lamp", mall.MainLocation), tellFor, Notice{Restock: &restock})},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s is told by %+v, want %+v", name, c.got, c.want)
		}
	}
}
