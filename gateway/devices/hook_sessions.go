package devices

import (
	"context"
	"slices"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
)

// What the MQTT server tells of sessions goes to their journal, and comes from there when it begins.

// lasts tells whether a session outlives its connection.
func lasts(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

// remember has a session in the journal that outlives its connection, before the device hears that it has it.
func (h *hook) remember(cl *mqtt.Client) {
	if !lasts(cl) {
		return
	}
	h.g.sessions.add(line{Session: cl.ID, Client: &storage.Client{
		ID: cl.ID, Username: cl.Properties.Username, ProtocolVersion: cl.Properties.ProtocolVersion, Clean: cl.Properties.Clean,
		Properties: storage.ClientProperties{
			SessionExpiryInterval: cl.Properties.Props.SessionExpiryInterval, SessionExpiryIntervalFlag: cl.Properties.Props.SessionExpiryIntervalFlag,
		},
	}})
	h.sync()
}

// OnSessionEstablished notes that a connection is read from.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	h.g.reading[cl] = make(chan struct{})
}

// takeOver ends the connection from which another one takes a session over, waits until it has dealt with what it read, and has the session hold what the
// journal says that it holds: the server may have forgotten what it was to send when the connection broke.
func (h *hook) takeOver(cl *mqtt.Client) {
	before, ok := h.g.server.Clients.Get(cl.ID)
	if !ok || !lasts(before) {
		return
	}
	h.g.mu.RLock()
	gone := h.g.reading[before]
	h.g.mu.RUnlock()
	if gone != nil {
		_ = h.g.server.DisconnectClient(before, packets.ErrSessionTakenOver) // it says why it was asked to
		limit := time.NewTimer(goneWithin)
		defer limit.Stop()
		select {
		case <-gone:
		case <-limit.C:
		}
	}
	for _, m := range h.g.sessions.waits(cl.ID) {
		if _, ok := before.State.Inflight.Get(m.PacketID); !ok {
			before.State.Inflight.Set(m.ToPacket())
		}
	}
}

// OnSubscribed keeps what was granted before the device hears of it.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	if cl.Net.Inline {
		return
	}
	sayWhy(cl, pk, codes)
	l, ok := h.g.login(string(cl.Properties.Username))
	for i, f := range pk.Filters {
		if !ok || codes[i] > packets.CodeGrantedQos2.Code {
			continue
		}
		name := l.older(h.g.Chain, f.Filter)
		h.g.mu.RLock()
		bare := name != "" && h.g.bare[bareName{cl.ID, name}]
		h.g.mu.RUnlock()
		h.g.sessions.add(line{Session: cl.ID, Filter: &filter{Bare: bare, Subscription: storage.Subscription{
			Client: cl.ID, Filter: f.Filter, Qos: codes[i], Identifier: f.Identifier, NoLocal: f.NoLocal, RetainHandling: f.RetainHandling,
			RetainAsPublished: f.RetainAsPublished,
		}}})
	}
	h.sync()
}

// OnUnsubscribed takes it back.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	for _, f := range pk.Filters {
		h.g.sessions.add(line{Session: cl.ID, Unsubscribed: f.Filter})
	}
}

// OnQosPublish keeps what a session is to be given until it has it. The server may have looked the session up before it handed what waits there on to
// a new connection.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish && cl.IsTakenOver() {
		h.g.missed.Add(1)
	}
	if pk.FixedHeader.Type == packets.Publish && keepable(pk.TopicName) {
		h.g.sessions.add(line{Session: cl.ID, Message: messageOf(pk)})
	}
}

// OnPacketRead takes out what a device says that it has. A device and the server number their messages each by itself; the server knows one
// number only once, and would refuse a subscription, or forget what it is still to send, where a device has used a number that it uses itself. So
// what it is to send is put aside while it deals with the other.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.putBack(cl)
	switch pk.FixedHeader.Type {
	case packets.Puback:
		h.g.sessions.add(line{Session: cl.ID, Settled: pk.PacketID})
		backbone.CrashPoint("device.has")
	case packets.Publish, packets.Subscribe, packets.Unsubscribe:
		waits, ok := cl.State.Inflight.Get(pk.PacketID)
		if !ok || waits.FixedHeader.Type != packets.Publish {
			break
		}
		h.putAside(cl, waits)
		cl.State.Inflight.Delete(pk.PacketID)
	}
	return pk, nil
}

// OnPacketProcessed puts back what was put aside.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, _ error) {
	if !nudges(pk) {
		h.putBack(cl)
	}
}

func (h *hook) putAside(cl *mqtt.Client, pk packets.Packet) {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	h.g.aside[cl] = append(h.g.aside[cl], pk)
}

func (h *hook) putBack(cl *mqtt.Client) {
	h.g.mu.Lock()
	waits := h.g.aside[cl]
	delete(h.g.aside, cl)
	h.g.mu.Unlock()
	for _, pk := range waits {
		cl.State.Inflight.Set(pk)
	}
}

// later tells a message that waits until a device has said that it has enough of what it was sent before.
func later(pk packets.Packet) bool { return pk.Expiry < 0 }

// nudge goes on with what waits for devices that have said that they have all that they were sent. The server goes on when a device says so; it may have
// let a message wait just after, and counts the room of a device twice then.
func (g *Gateway) nudge() {
	for _, cl := range g.server.Clients.GetAll() {
		if cl.Net.Inline || cl.Closed() || cl.State.Inflight.Len() == 0 {
			continue
		}
		if slices.ContainsFunc(cl.State.Inflight.GetAll(false), func(pk packets.Packet) bool { return !later(pk) }) {
			continue
		}
		cl.State.Inflight.ResetSendQuota(int32(cl.Properties.Props.ReceiveMaximum))
		for range cl.State.Inflight.Len() {
			_ = g.server.InjectPacket(cl, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}) // of no message
		}
	}
}

// nudges tells a packet that comes from nudge.
func nudges(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Puback && pk.PacketID == 0 }

// OnQosDropped takes out what nobody waits for any more. A connection that was taken over hands what waits on to its successor.
func (h *hook) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if !cl.IsTakenOver() {
		h.g.sessions.add(line{Session: cl.ID, Settled: pk.PacketID})
	}
}

// OnPublishDropped cuts a device off that does not read what it is sent. What waits for it is sent again when it comes again.
func (h *hook) OnPublishDropped(cl *mqtt.Client, _ packets.Packet) {
	if !cl.Closed() {
		h.g.Logger.Warn("a device does not read what it is sent and is cut off", "device", string(cl.Properties.Username))
		cl.Stop(packets.ErrPendingClientWritesExceeded)
	}
}

// OnPublished returns when what waits for others is on the disk.
func (h *hook) OnPublished(*mqtt.Client, packets.Packet) { h.sync() }

// OnRetainMessage keeps how a device is, before it hears that this is kept. That the mall is here is not kept: it says so when it is.
func (h *hook) OnRetainMessage(cl *mqtt.Client, pk packets.Packet, n int64) {
	switch {
	case cl.Net.Inline || !keepable(pk.TopicName):
	case n < 0:
		h.g.sessions.add(line{Cleared: pk.TopicName})
	default:
		h.g.sessions.add(line{Kept: messageOf(pk)})
	}
	h.sync()
}

// OnRetainedExpired takes out what is kept no longer.
func (h *hook) OnRetainedExpired(topic string) { h.g.sessions.add(line{Cleared: topic}) }

// OnClientExpired ends a session whose device was away for too long.
func (h *hook) OnClientExpired(cl *mqtt.Client) { h.forget(cl) }

func (h *hook) sync() {
	if err := h.g.sessions.sync(); err != nil {
		h.g.Logger.Error("what waits for devices that are away cannot be kept", "error", err)
	}
}

// restore lets those sessions in again whose device has a login still.
func (g *Gateway) restore(ctx context.Context) error {
	if len(g.sessions.clients) == 0 {
		return nil
	}
	list, err := Logins(ctx, g.Reader, "")
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range list {
		g.logins[l.Device] = l
	}
	used := map[string]bool{}
	for id, c := range g.sessions.clients {
		l, ok := g.logins[string(c.Username)]
		if !ok {
			g.sessions.add(line{Session: id, Ended: true})
			continue
		}
		used[l.Device] = true
		g.quota.hold(l.Device, id, true)
		for _, f := range g.sessions.filters[id] {
			if f.Bare {
				g.bare[bareName{id, strings.TrimPrefix(f.Filter, g.Chain+"/"+l.Store+"/")}] = true
			}
		}
	}
	for device := range g.logins {
		if !used[device] {
			delete(g.logins, device) // it has not come since the start
		}
	}
	return nil
}

// StoredClients implements mqtt.Hook.
func (h *hook) StoredClients() (list []storage.Client, err error) {
	for _, c := range h.g.sessions.clients {
		list = append(list, c)
	}
	return list, nil
}

// StoredSubscriptions implements mqtt.Hook.
func (h *hook) StoredSubscriptions() (list []storage.Subscription, err error) {
	for _, all := range h.g.sessions.filters {
		for _, f := range all {
			list = append(list, f.Subscription)
		}
	}
	return list, nil
}

// StoredInflightMessages implements mqtt.Hook.
func (h *hook) StoredInflightMessages() (list []storage.Message, err error) {
	for id, all := range h.g.sessions.waiting {
		for _, m := range ordered(all) {
			m.Client = id
			list = append(list, m)
		}
	}
	return list, nil
}

// StoredRetainedMessages implements mqtt.Hook.
func (h *hook) StoredRetainedMessages() (list []storage.Message, err error) {
	for _, m := range h.g.sessions.kept {
		list = append(list, m)
	}
	return list, nil
}
