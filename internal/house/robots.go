package house

import (
	"context"
	"net/http"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/robots"
	"example.org/souk/mall/depot"
)

// Robots is the way in for robots, which shows where they are; nil where the depot does not run or
// the logins of devices cannot be read.
func (h *House) Robots() *robots.Gateway { return h.robots }

// openRobots makes the way in for robots where the depot runs and logins can be read.
func (h *House) openRobots() (err error) {
	if !h.Runtime.Runs(depot.ServiceName) || h.stores.of(devices.ServiceName) == nil {
		return nil
	}
	h.robots, err = robots.New(robots.Config{
		Commands: h.Runtime, Reader: h.Reader(depot.ServiceName), Changed: h.Runtime.Changed, Logins: robotLogins{h.Reader(devices.ServiceName)},
		Lease: h.cfg.RobotLease, Closing: h.closing, Clock: clock{}, Logger: h.cfg.Logger,
	})
	return err
}

// serveRobots takes what is for the gateway of robots to it, and everything else to others.
func (h *House) serveRobots(others http.Handler) http.Handler {
	if h.robots == nil {
		return others
	}
	path := h.robots.Path()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, path) {
			h.robots.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// robotLogins are the logins of devices of the kind robot.
type robotLogins struct{ devices *backbone.Reader }

// Admit implements robots.Logins.
func (l robotLogins) Admit(ctx context.Context, robot, password string) (string, bool, error) {
	login, ok, err := devices.Admits(ctx, l.devices, robot, password)
	return login.Hash, ok && login.Kind == devices.Robot, err
}

// Standing implements robots.Logins.
func (l robotLogins) Standing(ctx context.Context) (map[string]string, error) {
	list, err := devices.Logins(ctx, l.devices, "")
	standing := map[string]string{}
	for _, login := range list {
		if login.Kind == devices.Robot {
			standing[login.Device] = login.Hash
		}
	}
	return standing, err
}
