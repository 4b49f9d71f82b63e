// Package driver holds the small interfaces that databases and transports
// implement under package backbone. Code that uses backbone does not call them;
// code that adds a database or a broker implements them and runs the suite in
// backbone/drivertest against its own.
//
// Drivers stay dumb. Batching, lanes, retry, parking, sagas and telemetry are
// written once, in backbone, above these interfaces. A driver moves batches of
// rows (a Store) or batches of messages (a Transport) and reports what it can do
// as powers; what it does not declare is refused when the program is built.
//
// The shape follows gocloud.dev's portable-type-over-driver design.
package driver
