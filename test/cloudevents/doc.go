// Package cloudevents has the SDK of the CloudEvents project, with its own bindings of protocols, read what souk publishes to brokers, and souk take what
// the SDK publishes. It is a module of its own, so that the SDK's clients are no dependency of souk.
package cloudevents
