// Package mail sends messages.
//
// A [Sender] hands them to an SMTP server; a [Mailbox] appends them to a file, for a shop that has no mail server yet.
// Both have the method Send(context.Context, Message) error, so a caller needs to know only that.
//
// A message carries an ID of the caller's, which becomes its Message-ID. SMTP cannot be asked what became of a message:
// whoever does not know sends it again with the same ID, and the receiver can tell that it is the same one.
//
// Errors are of type [*Error] and carry their [Class] as data, because what to do next depends on it alone:
//
//   - [Unavailable]: it was not sent. Send it again later.
//   - [Transient]: the server turned it away for now. Send it again later.
//   - [Unknown]: the connection was lost at the end, it may have been sent. Send it again with the same ID.
//   - [Permanent]: the server, or this package, refuses this message for good. Give up.
//
// The package standin beside this one is a stand-in for a mail server, for tests, demonstrations and development: it
// catches every message and delivers none.
package mail
