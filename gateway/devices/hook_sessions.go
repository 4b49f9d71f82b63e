package devices

import (
	"context"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
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

// OnQosPublish keeps what a session is to be given until it has it.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish && keepable(pk.TopicName) {
		h.g.sessions.add(line{Session: cl.ID, Message: messageOf(pk)})
	}
}

// OnPacketRead takes out what a device says that it has. A device and the server number their messages each by itself; the server knows one
// number only once, and would refuse a subscription, or forget what it is still to send, where a device has used a number that it uses itself. So
// what it is to send is put aside while it deals with the other.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Puback:
		h.g.sessions.add(line{Session: cl.ID, Settled: pk.PacketID})
	case packets.Publish, packets.Subscribe, packets.Unsubscribe:
		waits, ok := cl.State.Inflight.Get(pk.PacketID)
		if !ok || waits.FixedHeader.Type != packets.Publish {
			break
		}
		h.g.mu.Lock()
		h.g.aside[cl] = waits
		h.g.mu.Unlock()
		cl.State.Inflight.Delete(pk.PacketID)
	}
	return pk, nil
}

// OnPacketProcessed puts back what was put aside.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) { h.putBack(cl) }

func (h *hook) putBack(cl *mqtt.Client) {
	h.g.mu.RLock()
	waits, ok := h.g.aside[cl]
	h.g.mu.RUnlock()
	if !ok {
		return
	}
	cl.State.Inflight.Set(waits)
	h.g.mu.Lock()
	delete(h.g.aside, cl)
	h.g.mu.Unlock()
}

// OnQosDropped takes out what nobody waits for any more. A connection that was taken over hands what waits on to its successor.
func (h *hook) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if !cl.IsTakenOver() {
		h.g.sessions.add(line{Session: cl.ID, Settled: pk.PacketID})
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
