// Package devices is the way in and out for what stands in shops: gates, displays, tills, sensors. They speak MQTT, 3.1.1 or 5,
// to a server that runs in this process.
//
// Open takes a listener. Service is the service of the gateway, which stands on the map beside the others; Serve lets devices
// in, Close sends them away.
//
// Nobody may do anything that is not listed (policy.go). A device has a login of its own, which belongs to one store; it may
// publish below its own topics only, souk/v1/{store}/{kind}/{device}/, and under the names of older systems, which mean its
// own store: {chain}/{store}/{name}, or the bare name.
//
// In (message.go): who came, who left with what. A message is acknowledged when what was decided is durable. Where it cannot be
// decided now, the connection is closed without an acknowledgement, and the device sends it again. One that makes no sense is
// acknowledged, counted, and goes nowhere; a client of MQTT 5 is told why.
//
// Where the services that decide run in other processes (intake.go), a message is acknowledged when it stands in the log of the gateway's
// own service, and goes to them from there when they are there, with the time of then. It cannot be taken in only while the database
// cannot be reached.
//
// Copies: a message with an id or with a time counts once. Without either, an arrival is one visit while that is open;
// otherwise a copy is assumed only at the same device within two seconds, or with the DUP flag. So of two who pass with one card
// within two seconds one is missed, and a copy that comes later counts again.
//
// Out (out.go): what displays show, what a visitor owes, what runs low, and that a gate is to open (on its topic cmd/open, for five seconds). Such messages go out as calls: rows first. Nothing that
// went out is taken in again. What waits for a device that is away, in a session that outlives its connection (sessions.go, hook_sessions.go), stands
// in a file of the process, and so does what devices say of themselves to be kept; not what displays show, since it names people and is over in
// seconds. So of several processes that run the gateway each has the sessions of the devices that connect to it. How many there are, and how many
// filters are in them, is bounded (quota.go). Nobody waits for a device that does not read (visitor.go).
//
// The service:
//
// Decides: which devices there are, and whether a gate opens by hand.
//
// Keeps: a stream for each device; one of what was taken in for each visitor of a store (passage); the view logins, inline.
//
// Handles: AddDevice, RevokeDevice, OpenGate; its own TakeArrival and TakeDeparture.
//
// Subscribes: to greeter.WelcomeShown, fastlane.PaymentDue and inventory.RestockNeeded.
//
// Refuses: device_exists, device_unknown, not_a_gate.
package devices
