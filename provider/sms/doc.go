// Package sms sends text messages.
//
// A [Sender] hands them to a provider over HTTP; an [Outbox] appends them to a file, for a shop that has no provider yet. Both have the
// method Send(context.Context, Message) error, so a caller needs to know only that, and another provider is another type with it.
//
// The provider speaks
//
//	POST /v1/messages    Authorization: Bearer API-KEY    {"id": "...", "to": "+49 30 1", "text": "..."}
//
// and answers 2xx once it has taken the message for good. The id is the caller's: a message that comes again under its id is taken and not
// sent again, so whoever does not know what became of one sends it again. 4xx refuses it for good, except 401, 403, 408 and 429.
//
// Errors are of type [*Error] and carry their [Class] as data, as those of the package mail do. The package standin beside this one is a stand-in for
// a provider: it keeps every message in a ledger and sends none.
package sms
