// Package standin is a stand-in for a mail server. It takes messages over SMTP, writes them to a durable ledger and
// delivers none: it exists so that tests, demonstrations and developers can see what was sent, and have a server whose
// failures can be switched on.
//
// It is a process of its own (cmd/mailstandin), or a value that runs inside a test ([New], [Catcher.Run]). A message is
// on disk before the server says that it has taken it. Next to SMTP it listens for HTTP, where every request needs
// "Authorization: Bearer API-KEY":
//
//	GET /messages[?to=ADDRESS][&id=MESSAGE-ID]    what was taken, and how often each Message-ID was
//	GET /faults, PUT /faults    see Faults; PUT replaces all of them
package standin
