package door_test

import (
	"testing"

	"example.org/souk/gateway/door"
)

func TestHub(t *testing.T) {
	t.Parallel()
	var h door.Hub
	h.Notify("nobody")
	a, stopA := h.Watch("C")
	b, stopB := h.Watch("C")
	other, stopOther := h.Watch("D")
	h.Notify("C")
	h.Notify("C") // is not waited for
	<-a
	<-b
	stopA()
	h.Notify("C")
	<-b
	stopB()
	stopOther()
	if len(a)+len(b)+len(other) != 0 {
		t.Error("pulses are left")
	}
}
