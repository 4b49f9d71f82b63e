package devices

import (
	"context"
	"errors"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// hook is what the MQTT server asks.
type hook struct {
	mqtt.HookBase
	g *Gateway
}

// ID names the hook.
func (*hook) ID() string { return "souk" }

// Provides tells which questions the hook answers.
func (*hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnSubscribe, mqtt.OnUnsubscribe, mqtt.OnPublish, mqtt.OnPacketEncode,
		mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnPacketRead, mqtt.OnPacketProcessed, mqtt.OnQosPublish, mqtt.OnQosDropped, mqtt.OnPublishDropped, mqtt.OnPublished,
		mqtt.OnRetainMessage, mqtt.OnRetainedExpired, mqtt.OnClientExpired,
		mqtt.StoredClients, mqtt.StoredSubscriptions, mqtt.StoredInflightMessages, mqtt.StoredRetainedMessages:
		return true
	}
	return false
}

// OnConnectAuthenticate lets a device in that gives the password of its login. A last will may only be about the device's own
// connection. Sessions are kept apart by device, so that nobody takes over another's.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	name := string(pk.Connect.Username)
	if mall.ValidID(name) != nil || len(pk.Connect.ClientIdentifier) > maxTopic {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), decideWithin)
	defer cancel()
	list, err := Logins(ctx, h.g.Reader, name)
	if err != nil {
		h.g.Logger.Warn("a device cannot be let in", "device", name, "error", err)
		return false
	}
	if len(list) != 1 || !list[0].admits(pk.Connect.Password) || list[0].Kind == Robot {
		h.g.Logger.Warn("a device was not let in", "device", name, "from", cl.Net.Remote)
		return false
	}
	l := list[0]
	if pk.Connect.WillFlag && pk.Connect.WillTopic != l.own()+nameConnection {
		h.g.Logger.Warn("a device was not let in, since its last will is not about its own connection", "device", name)
		return false
	}
	session := name + "/" + cl.ID
	if !h.g.seat(cl, name, session) {
		h.full(cl, name)
		return false
	}
	h.g.mu.Lock()
	old := h.g.logins[name]
	h.g.logins[name] = l
	h.g.mu.Unlock()
	if old != l && old != (Login{}) { // what waits in its sessions was for another login, which may have heard of more
		h.g.expel(map[string]bool{name: true})
	}
	cl.ID = session
	return true
}

// OnSessionEstablish begins a session.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	h.takeOver(cl)
	if pk.Connect.Clean {
		h.empty(cl.ID)
	}
	h.remember(cl)
	l, ok := h.g.login(string(cl.Properties.Username))
	if !ok {
		return
	}
	h.g.mu.Lock()
	first := !h.g.greeted[l.Store]
	h.g.greeted[l.Store] = true
	h.g.mu.Unlock()
	if first {
		h.g.here(l.Store)
	}
}

// OnDisconnect ends a connection, and with expire its session.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	h.putBack(cl)
	h.g.mu.Lock()
	if gone := h.g.reading[cl]; gone != nil {
		delete(h.g.reading, cl)
		close(gone)
	}
	h.g.mu.Unlock()
	if expire && !cl.IsTakenOver() {
		h.forget(cl)
	}
}

// forget ends a session.
func (h *hook) forget(cl *mqtt.Client) {
	h.empty(cl.ID)
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	h.g.quota.release(string(cl.Properties.Username), cl.ID)
}

// empty takes out of a session what is in it.
func (h *hook) empty(session string) {
	h.g.sessions.add(line{Session: session, Ended: true})
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	for b := range h.g.bare {
		if b.session == session {
			delete(h.g.bare, b)
		}
	}
}

// OnACLCheck tells whether a device may publish, subscribe to or be given what is under a topic.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if cl.Net.Inline {
		return true
	}
	l, ok := h.g.login(string(cl.Properties.Username))
	switch {
	case !ok:
		return false
	case write:
		w, _ := l.publishes(h.g.Chain, topic)
		return w != nothing
	case strings.ContainsAny(topic, "+#"):
		return l.maySubscribe(h.g.Chain, topic)
	}
	return l.mayRead(h.g.Chain, topic)
}

// OnSubscribe turns bare names into those of the device's store.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.canonical(cl, pk, true)
}

// OnUnsubscribe does the same.
func (h *hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.canonical(cl, pk, false)
}

func (h *hook) canonical(cl *mqtt.Client, pk packets.Packet, asked bool) packets.Packet {
	l, ok := h.g.login(string(cl.Properties.Username))
	if !ok {
		return pk
	}
	filters := append(packets.Subscriptions{}, pk.Filters...)
	for i, f := range filters {
		if strings.ContainsAny(f.Filter, "/+#$") {
			if name := l.older(h.g.Chain, f.Filter); name != "" && asked {
				h.set(bareName{cl.ID, name}, false)
			}
			continue
		}
		filters[i].Filter = l.under(h.g.Chain, f.Filter)
	}
	if asked {
		h.bound(cl, l.Device, filters)
	}
	for i, f := range pk.Filters {
		if now := filters[i].Filter; now != f.Filter && now != overFilter && (!asked || l.mayRead(h.g.Chain, now)) {
			h.set(bareName{cl.ID, f.Filter}, asked)
		}
	}
	pk.Filters = filters
	return pk
}

func (h *hook) set(b bareName, asked bool) {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	if asked {
		h.g.bare[b] = true
	} else {
		delete(h.g.bare, b)
	}
}

// OnPacketEncode gives a message the bare name back that its receiver asked for. One that had to wait for its turn the server forgets once it is sent, and
// with it that the device has room again: the device would be sent nothing more, and what it does not say that it has would be gone. So it is put aside.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Publish && later(pk) {
		sent := pk
		sent.Expiry = 0
		h.putAside(cl, sent)
	}
	if pk.FixedHeader.Type != packets.Publish || cl.Net.Inline || !strings.HasPrefix(pk.TopicName, h.g.Chain+"/") {
		return pk
	}
	l, ok := h.g.login(string(cl.Properties.Username))
	if !ok {
		return pk
	}
	name := l.older(h.g.Chain, pk.TopicName)
	h.g.mu.RLock()
	defer h.g.mu.RUnlock()
	if name != "" && h.g.bare[bareName{cl.ID, name}] {
		pk.TopicName = name
	}
	return pk
}

// OnPublish takes a message in. When it returns without an error, what was decided is durable, and the server acknowledges.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil // what goes out
	}
	l, ok := h.g.login(string(cl.Properties.Username))
	if !ok {
		return pk, h.turnAway(cl)
	}
	if h.g.messages.Take(l.Device, h.g.Clock.Now()) > 0 {
		h.g.Logger.Warn("a device says too much and is cut off", "device", l.Device)
		return pk, h.turnAway(cl)
	}
	w, topic := l.publishes(h.g.Chain, pk.TopicName)
	if w == nothing {
		return pk, h.turnAway(cl)
	}
	pk.TopicName = topic
	if pk.FixedHeader.Retain && w != kept {
		return h.drop(cl, l, pk, topic, nonsense("what happens is not kept: publish it without the retain flag"))
	}
	if w != arrival && w != depart {
		return pk, nil
	}
	outcome, err := h.g.take(l, w, topic, pk)
	switch {
	case errors.Is(err, errNonsense):
		return h.drop(cl, l, pk, topic, err)
	case err != nil:
		h.g.settled(l, topic, Later)
		h.g.Logger.Warn("a message of a device waits", "device", l.Device, "topic", topic, "error", err)
		return pk, h.turnAway(cl)
	}
	h.g.settled(l, topic, outcome)
	if outcome != Taken {
		return pk, packets.CodeSuccessIgnore
	}
	return pk, nil
}

// turnAway closes a connection whose message is not acknowledged.
func (*hook) turnAway(cl *mqtt.Client) error {
	cl.Stop(packets.ErrRejectPacket)
	return packets.ErrRejectPacket
}

// drop acknowledges a message that goes nowhere; whoever speaks MQTT 5 is told so.
func (h *hook) drop(cl *mqtt.Client, l Login, pk packets.Packet, topic string, err error) (packets.Packet, error) {
	h.g.settled(l, topic, Nonsense)
	h.g.Logger.Warn("a message of a device was dropped", "device", l.Device, "topic", topic, "error", err)
	if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos > 0 {
		return pk, packets.ErrPayloadFormatInvalid
	}
	return pk, packets.CodeSuccessIgnore
}

// settled tells of a message by its name, or by one for all where the device has made the name up: those that are told of are few.
func (g *Gateway) settled(l Login, topic string, o Outcome) {
	name := anyName
	if t := l.find(g.Chain, topic); t != nil {
		name = t.name
	}
	g.Settled(name[strings.LastIndexByte(name, '/')+1:], o)
}

// take has a message decided.
func (g *Gateway) take(l Login, w what, topic string, pk packets.Packet) (Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), decideWithin)
	defer cancel()
	given := ""
	for _, p := range pk.Properties.User {
		if p.Key == "id" {
			given = p.Val
		}
	}
	s, err := read(w, pk.Payload, given)
	if err != nil {
		return Nonsense, err
	}
	name := topic[strings.LastIndexByte(topic, '/')+1:]
	id, timed := s.commandID(l.Device, name, pk.Payload)
	c, err := g.ask(ctx, l, w, s, !timed, pk.FixedHeader.Dup)
	if err != nil {
		return Later, err
	}
	if g.Intake {
		c = taken(c)
	}
	g.mu.RLock()
	commands := g.commands
	g.mu.RUnlock()
	backbone.CrashPoint("device.read")
	a, err := commands.Do(ctx, c, backbone.WithID(id), backbone.By("device:"+l.Device))
	backbone.CrashPoint("device.taken")
	switch {
	case errors.Is(err, backbone.ErrDifferentCommand):
		g.Logger.Warn("another message came under the id of one that was taken: it is dropped", "device", l.Device, "topic", topic)
		return Conflict, nil
	case err != nil:
		return Later, err
	case a.Repeated || len(a.Refs) == 0:
		return Copy, nil
	}
	if strings.HasPrefix(topic, root) {
		g.echo(l, w, s)
	}
	return Taken, nil
}
