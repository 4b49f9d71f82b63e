// Package standin is a stand-in for a text message provider. It takes messages over HTTP, writes them to a durable ledger and sends none:
// it exists so that tests, demonstrations and developers can see what was sent, and have a provider whose failures can be
// switched on.
//
// It is a process of its own (cmd/smsstandin), or a value that runs inside a test ([New], [Provider.Run]). A message is on disk before it is
// answered. Every request needs "Authorization: Bearer API-KEY":
//
//	POST /v1/messages           see the package sms
//	GET /messages               what was taken, and how often each id was
//	GET /faults, PUT /faults    see Faults; PUT replaces all of them
package standin
