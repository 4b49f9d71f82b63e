package devices

import (
	"slices"
	"strings"
)

// Kind is what a device is. It says what the device may do.
type Kind string

// The kinds of devices.
const (
	Gate    Kind = "gate" // where people come in and leave
	GateIn  Kind = "gate-in"
	GateOut Kind = "gate-out"
	Display Kind = "display"
	Till    Kind = "till" // where the shop watches
	Kiosk   Kind = "kiosk"
	Shelf   Kind = "shelf"
	Scale   Kind = "scale"
	Robot   Kind = "robot" // comes by another way than MQTT
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{Gate, GateIn, GateOut, Display, Till, Kiosk, Shelf, Scale, Robot} }

// KindOf guesses the kind of a device from the beginning of its id: "gate-in-2" is a gate-in. False where it says none.
func KindOf(device string) (Kind, bool) {
	var best Kind
	for _, k := range Kinds() {
		if strings.HasPrefix(device, string(k)) && len(k) > len(best) {
			best = k
		}
	}
	return best, best != ""
}

// The names of older systems. They exist in this package alone.
const (
	nameArrival    = "CustomerArrival"
	nameArrived    = "customer-arrival"
	nameDeparted   = "customer-departed"
	nameDeparture  = "customer-departure"
	nameWelcome    = "display-welcome"
	namePaymentDue = "payment-due"
	nameRestock    = "RestockNeeded"
)

// Names of ours, below souk/v1/{store}/.
const (
	root            = "souk/v1/"
	eventArrived    = "customer-arrived"
	eventDeparted   = "customer-departed"
	businessDue     = "payment-due"
	businessRestock = "restock-needed"
)

func (k Kind) admits() bool { return k == Gate || k == GateIn }

func (k Kind) releases() bool { return k == Gate || k == GateOut }

// hears lists the names of older systems that a kind may subscribe to. Only a display is told what somebody is called.
func (k Kind) hears() []string {
	switch k {
	case Display:
		return []string{nameWelcome}
	case Till, Kiosk:
		return []string{namePaymentDue, nameRestock, nameArrival, nameArrived, nameDeparted, nameDeparture}
	case Gate, GateOut:
		return []string{namePaymentDue, nameArrival, nameArrived, nameDeparted, nameDeparture}
	case GateIn:
		return []string{nameArrival, nameArrived}
	case Shelf, Scale:
		return []string{nameRestock}
	}
	return nil
}

// told lists what of souk/v1/{store}/business/ a kind may subscribe to.
func (k Kind) told() []string {
	switch k {
	case Till, Kiosk:
		return []string{businessDue, businessRestock}
	case Gate, GateOut:
		return []string{businessDue}
	case Shelf, Scale:
		return []string{businessRestock}
	}
	return nil
}

// own returns the prefix of a device's topics.
func (l Login) own() string { return root + l.Store + "/" + string(l.Kind) + "/" + l.Device + "/" }

// what a message of a device is.
type what int

const (
	nothing what = iota // it may not be published
	kept                // how the device is: kept for whoever subscribes later
	passing             // goes to who is subscribed, and no further
	arrival
	depart
)

// maxTopic bounds a topic or a filter, in bytes.
const maxTopic = 200

// publishes says what a message on a topic is, and on which topic it goes to others: a bare name means the device's store.
func (l Login) publishes(chain, topic string) (w what, canonical string) {
	if len(topic) > maxTopic {
		return nothing, ""
	}
	if rest, ok := strings.CutPrefix(topic, l.own()); ok {
		name, isEvent := strings.CutPrefix(rest, "event/")
		switch {
		case rest == "connection", rest == "factsheet", rest == "state":
			return kept, topic
		case rest == "ack":
			return passing, topic
		case !isEvent || name == "" || strings.Contains(name, "/"):
			return nothing, ""
		case name == eventArrived:
			return when(l.Kind.admits(), arrival), topic
		case name == eventDeparted:
			return when(l.Kind.releases(), depart), topic
		}
		return passing, topic
	}
	switch name := l.older(chain, topic); name {
	case nameArrival, nameArrived:
		return when(l.Kind.admits(), arrival), l.under(chain, name)
	case nameDeparted, nameDeparture:
		return when(l.Kind.releases(), depart), l.under(chain, name)
	}
	return nothing, ""
}

func when(allowed bool, w what) what {
	if allowed {
		return w
	}
	return nothing
}

// older returns the name of an older system that a topic is, bare or under the device's store; else "".
func (l Login) older(chain, topic string) string {
	name, ok := strings.CutPrefix(topic, chain+"/"+l.Store+"/")
	if !ok {
		name = topic
	}
	if strings.Contains(name, "/") {
		return ""
	}
	return name
}

func (l Login) under(chain, name string) string { return chain + "/" + l.Store + "/" + name }

// mayRead tells whether a message on a topic may go to the device.
func (l Login) mayRead(chain, topic string) bool {
	if len(topic) > maxTopic {
		return false
	}
	if strings.HasPrefix(topic, l.own()) || topic == root+l.Store+"/server/connection" {
		return true
	}
	if name, ok := strings.CutPrefix(topic, root+l.Store+"/business/"); ok {
		return slices.Contains(l.Kind.told(), name)
	}
	name, ok := strings.CutPrefix(topic, chain+"/"+l.Store+"/")
	return ok && slices.Contains(l.Kind.hears(), name)
}

// maySubscribe tells whether the device may ask for what matches a filter. One with wildcards may match more than the device
// may read, within its store; what that is is not delivered.
func (l Login) maySubscribe(chain, filter string) bool {
	if len(filter) > maxTopic {
		return false
	}
	if !strings.ContainsAny(filter, "+#") {
		return l.mayRead(chain, filter)
	}
	for _, area := range []string{l.own(), root + l.Store + "/business/", chain + "/" + l.Store + "/"} {
		if rest, ok := strings.CutPrefix(filter, area); ok && (area == l.own() || rest == "#" || rest == "+") {
			return true
		}
	}
	return false
}

// Way is a topic on which some kinds of devices may say something, or hear something.
type Way struct {
	Topic string // with STORE, KIND and DEVICE for those of the device
	Says  []Kind // that may publish to it
	Hears []Kind // that may read it
}

// Ways lists every topic that somebody may use, with who may: the whole policy of the gateway. What is not listed nobody may.
func Ways(chain string) []Way {
	const store, device = "STORE", "DEVICE"
	topics := []string{root + store + "/server/connection"}
	for _, name := range []string{businessDue, businessRestock} {
		topics = append(topics, root+store+"/business/"+name)
	}
	for _, name := range []string{nameArrival, nameArrived, nameDeparted, nameDeparture, nameWelcome, namePaymentDue, nameRestock} {
		topics = append(topics, chain+"/"+store+"/"+name)
	}
	own := []string{"connection", "factsheet", "state", "ack", "event/" + eventArrived, "event/" + eventDeparted, "event/OTHER", "cmd/open", "content"}
	for _, name := range own {
		topics = append(topics, root+store+"/KIND/"+device+"/"+name)
	}
	var list []Way
	for _, topic := range topics {
		w := Way{Topic: topic}
		for _, k := range Kinds() {
			l := Login{Device: device, Store: store, Kind: k}
			real := strings.Replace(topic, "/KIND/", "/"+string(k)+"/", 1)
			if what, _ := l.publishes(chain, real); what != nothing {
				w.Says = append(w.Says, k)
			}
			if l.mayRead(chain, real) {
				w.Hears = append(w.Hears, k)
			}
		}
		list = append(list, w)
	}
	return list
}
