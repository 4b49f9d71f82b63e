package devices

import (
	"slices"
	"strings"

	"example.org/souk/mall"
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
	underEvent      = "event/"
	businessDue     = "payment-due"
	businessRestock = "restock-needed"
	nameConnection  = "connection"
	nameContent     = "content"
	orderOpen       = "cmd/open"
)

func (k Kind) admits() bool { return k == Gate || k == GateIn }

func (k Kind) releases() bool { return k == Gate || k == GateOut }

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

// area is where a topic lies: what stands before its name.
type area int

const (
	ofDevice   area = iota // souk/v1/STORE/KIND/DEVICE/
	ofOlder                // CHAIN/STORE/: the names of older systems, which a device may say without what stands before
	ofBusiness             // souk/v1/STORE/business/
	ofServer               // souk/v1/STORE/server/
)

// before returns what stands before the names of an area, to a device.
func (l Login) before(chain string, a area) string {
	switch a {
	case ofDevice:
		return l.own()
	case ofOlder:
		return l.under(chain, "")
	case ofBusiness:
		return root + l.Store + "/business/"
	case ofServer:
		return root + l.Store + "/server/"
	}
	return ""
}

// topic is a row of the policy: a topic on which something is said or told.
type topic struct {
	area area
	name string // below the area
	says []Kind // who may publish to it
	what what   // what a message of theirs is
	hear []Kind // who may read it
}

// The kinds that come here, and those of them that the policy speaks of.
var (
	comers    = []Kind{Gate, GateIn, GateOut, Display, Till, Kiosk, Shelf, Scale}
	gates     = []Kind{Gate, GateIn, GateOut}
	entries   = []Kind{Gate, GateIn}
	exits     = []Kind{Gate, GateOut}
	displays  = []Kind{Display}
	arriving  = []Kind{Gate, GateIn, GateOut, Till, Kiosk}
	departing = []Kind{Gate, GateOut, Till, Kiosk} // they hear who leaves, and what is due
	shelves   = []Kind{Till, Kiosk, Shelf, Scale}  // they hear what runs low
)

// anyName stands for a name that a device gives an event of its own.
const anyName = "NAME"

// topics is the whole policy. What is not in it nobody says, and nobody is told. Only a display is told what somebody is called.
var topics = []topic{
	{ofServer, nameConnection, nil, nothing, comers},
	{ofBusiness, businessDue, nil, nothing, departing},
	{ofBusiness, businessRestock, nil, nothing, shelves},
	{ofOlder, nameArrival, entries, arrival, arriving},
	{ofOlder, nameArrived, entries, arrival, arriving},
	{ofOlder, nameDeparted, exits, depart, departing},
	{ofOlder, nameDeparture, exits, depart, departing},
	{ofOlder, nameWelcome, nil, nothing, displays},
	{ofOlder, namePaymentDue, nil, nothing, departing},
	{ofOlder, nameRestock, nil, nothing, shelves},
	{ofDevice, nameConnection, comers, kept, comers},
	{ofDevice, "factsheet", comers, kept, comers},
	{ofDevice, "state", comers, kept, comers},
	{ofDevice, "ack", comers, passing, comers},
	{ofDevice, underEvent + eventArrived, entries, arrival, entries},
	{ofDevice, underEvent + eventDeparted, exits, depart, exits},
	{ofDevice, underEvent + anyName, comers, passing, comers},
	{ofDevice, orderOpen, nil, nothing, gates},
	{ofDevice, nameContent, nil, nothing, displays},
}

// row returns the row of a name in an area, nil where there is none.
func row(a area, name string) *topic {
	own := -1 // where events stand that have another name than those of the table
	for i, t := range topics {
		switch {
		case t.area != a:
		case t.name == name && name != underEvent+anyName:
			return &topics[i]
		case t.name == underEvent+anyName:
			own = i
		}
	}
	if event, ok := strings.CutPrefix(name, underEvent); ok && own >= 0 && mall.ValidID(event) == nil {
		return &topics[own]
	}
	return nil
}

// find returns the row of a topic as it is to a device, nil where there is none.
func (l Login) find(chain, topic string) *topic {
	if len(topic) > maxTopic {
		return nil
	}
	for _, a := range []area{ofDevice, ofOlder, ofBusiness, ofServer} {
		if name, ok := strings.CutPrefix(topic, l.before(chain, a)); ok {
			if t := row(a, name); t != nil {
				return t
			}
		}
	}
	return nil
}

// publishes says what a message on a topic is, and on which topic it goes to others: a bare name means the device's store.
func (l Login) publishes(chain, topic string) (w what, canonical string) {
	if !strings.Contains(topic, "/") {
		topic = l.under(chain, topic)
	}
	t := l.find(chain, topic)
	if t == nil || !slices.Contains(t.says, l.Kind) {
		return nothing, ""
	}
	return t.what, topic
}

// mayRead tells whether a message on a topic may go to the device.
func (l Login) mayRead(chain, topic string) bool {
	t := l.find(chain, topic)
	return t != nil && slices.Contains(t.hear, l.Kind)
}

// older returns the name of an older system that a topic is, bare or under the device's store; else "".
func (l Login) older(chain, topic string) string {
	name, ok := strings.CutPrefix(topic, l.before(chain, ofOlder))
	if !ok {
		name = topic
	}
	if strings.Contains(name, "/") {
		return ""
	}
	return name
}

func (l Login) under(chain, name string) string { return chain + "/" + l.Store + "/" + name }

// maySubscribe tells whether the device may ask for what matches a filter. One with wildcards may match more than the device
// may read, within its store; what that is is not delivered.
func (l Login) maySubscribe(chain, filter string) bool {
	if len(filter) > maxTopic {
		return false
	}
	if !strings.ContainsAny(filter, "+#") {
		return l.mayRead(chain, filter)
	}
	if strings.HasPrefix(filter, l.own()) {
		return true
	}
	for _, a := range []area{ofBusiness, ofOlder} {
		if rest, ok := strings.CutPrefix(filter, l.before(chain, a)); ok && (rest == "#" || rest == "+") {
			return true
		}
	}
	return false
}

// Topics lists every topic on which somebody may say something or be told something, as it is to a device: the whole policy of the gateway, by which
// devices are judged. An event that a device names itself is there with a name that stands for all.
func Topics(chain string, l Login) (list []string) {
	for _, t := range topics {
		list = append(list, l.before(chain, t.area)+t.name)
	}
	return list
}
