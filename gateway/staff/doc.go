// Package staff is the way in for those who work in the mall: what there is and what happens, over REST and a WebSocket, and the page on which they
// see it live and act.
//
// Register adds its routes to a door (staff.go lists them with who may use each); Run follows the logs. What lies behind is a handful of small
// interfaces that the root of the program fills: Commands, Shops, Stock, Orders, Payments, Purchases, Fleet, Devices, Trade, Catalogue, Logs.
//
// Live (feed.go, position.go): a snapshot says with as_of up to where it knows everything. A socket goes on from there with ?since=, in this
// process or in any other: a position names a place in each service's log, and the logs are what every replica reads. Each event is a frame with the
// number that follows the last one's, and with the position after it; who misses a number takes a new snapshot. Heartbeats and robots'
// positions have no number of their own: they carry that of the last event. Robots are shown to who has everything else, and
// only as they are now. A socket holds one frame; who falls behind reads the logs at their own pace, and who takes none for some seconds is
// closed. Between two things frames keep no order that holds: those of one thing do.
//
// Two people (approval.go, service.go): refunds and the opening of a gate by hand are asked for by one and agreed to by another, a manager. What was
// agreed to is done by the gateway's own service, once, even where the service that does it is away for long.
//
// The service:
//
// Decides: whether what needs a second person is done.
//
// Keeps: a stream for each approval; the view approvals, inline; a saga for each that was given.
//
// Handles: AskApproval, GiveApproval, RefuseApproval, SettleApproval.
//
// Subscribes: to nothing.
//
// Refuses: approval_exists, approval_unknown, approval_decided, approval_late, same_person, not_offered.
package staff
