package devices

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// quota counts the sessions of devices, those that outlive their connections and those that do not. The MQTT server has them all; quota is
// told when one begins and ends, and looks again at those of a device that has as many as it may. It is guarded by the gateway's mu.
type quota struct {
	of      map[string]map[string]bool // by device and session: whether it outlives its connection
	lasting int                        // of all devices
}

func (q *quota) hold(device, session string, lasts bool) {
	if q.of == nil {
		q.of = map[string]map[string]bool{}
	}
	q.release(device, session)
	set(q.of, device, session, lasts)
	if lasts {
		q.lasting++
	}
}

func (q *quota) release(device, session string) {
	if q.of[device][session] {
		q.lasting--
	}
	delete(q.of[device], session)
	if len(q.of[device]) == 0 {
		delete(q.of, device)
	}
}

// seat holds a session for a device that comes, if it may have one.
func (g *Gateway) seat(cl *mqtt.Client, device, session string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	lasted, known := g.quota.of[device][session]
	if len(g.quota.of[device]) >= g.MostOfOne && !known {
		for id, stays := range g.quota.of[device] { // one whose connection ended before it had begun is over, and nobody was told
			if other, ok := g.server.Clients.Get(id); ok && other.Closed() && !stays {
				g.quota.release(device, id)
			}
		}
	}
	if !known && len(g.quota.of[device]) >= g.MostOfOne || lasts(cl) && !lasted && g.quota.lasting >= g.MostSessions {
		return false
	}
	g.quota.hold(device, session, lasts(cl))
	return true
}

// full tells a client that there is no session for it, and ends its connection.
func (h *hook) full(cl *mqtt.Client, device string) {
	h.g.Logger.Warn("a device was not let in, since there are as many sessions as there may be", "device", device, "of it", h.g.MostOfOne, "of all", h.g.MostSessions)
	reason := packets.ErrQuotaExceeded
	if cl.Properties.ProtocolVersion < 5 {
		reason = packets.ErrServerUnavailable // the nearest that 3.1.1 has
	}
	_ = h.g.server.SendConnack(cl, reason, false, nil) // it may have left
	cl.Stop(reason)
}

// overFilter stands for a filter that is one too many. No client can ask for it, and nobody may have it.
const overFilter = "\x00"

// bound puts overFilter in the place of filters that are more than a device may have in all its sessions.
func (h *hook) bound(cl *mqtt.Client, device string, filters packets.Subscriptions) {
	have := 0
	h.g.mu.RLock()
	for id := range h.g.quota.of[device] {
		if other, ok := h.g.server.Clients.Get(id); ok {
			have += other.State.Subscriptions.Len()
		}
	}
	h.g.mu.RUnlock()
	refused, fresh := 0, map[string]bool{}
	for i, f := range filters {
		if _, again := cl.State.Subscriptions.Get(f.Filter); again || fresh[f.Filter] {
			continue
		}
		if have >= h.g.MostFilters {
			filters[i].Filter = overFilter
			refused++
			continue
		}
		fresh[f.Filter] = true
		have++
	}
	if refused > 0 {
		h.g.Logger.Warn("a device was refused filters, since it has as many as it may", "device", device, "has", have, "refused", refused)
	}
}

// sayWhy has who speaks MQTT 5 told why a filter was refused; 3.1.1 knows no reasons.
func sayWhy(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	for i, f := range pk.Filters {
		if f.Filter == overFilter && cl.Properties.ProtocolVersion == 5 {
			codes[i] = packets.ErrQuotaExceeded.Code
		}
	}
}
