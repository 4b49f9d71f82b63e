// Package testserver starts the real servers, browsers and programs that tests talk to, and ends them again.
//
// A test asks for what it needs and gets it running:
//
//	pg := testserver.Postgres(t)          // one server shared by the tests of this process
//	url := pg.Database(t)                 // an empty database of this test's own
//
//	own := testserver.PostgresOwn(t)      // a server that this test may kill, pause and restart
//	kafka := testserver.Kafka(t)          // a server of the Kafka protocol; KafkaOwn likewise
//	nats := testserver.NATS(t)            // likewise, one NATS server, and NATSOwn
//	ctx := testserver.Chromium(t)         // a headless browser, through chromedp
//	page := testserver.OpenPage(t, limit) // the same, used as people use a page
//	proxy := testserver.NewProxy(t, addr) // a wire that can be made slow, cut, or silent
//
//	souk := testserver.Build(t, "example.org/souk/cmd/souk", "crashpoints")
//	child := testserver.Start(t, souk, "up")
//	child.WaitLine("listening")
//	child.Kill9()
//
// Everything listens on loopback, below port 32768 (where the ports of outgoing connections begin), keeps its data in
// a temporary directory, and is ended by process id when the test ends. Nothing outlives the test process, not even
// one that is killed: the kernel ends the children with their parent, and a janitor takes away their directories.
//
// SOUK_TEST_NATS=nats://127.0.0.1:4222 has the tests that share a NATS server use one that runs already, and so do the transports' suite (NATSOwnOrGiven);
// SOUK_TEST_RABBITMQ and SOUK_TEST_KAFKA likewise.
//
// A server that is not installed fails the test and names the command that installs it. Only the environment variable
// SOUK_WITHOUT, a list such as "postgres,chromium", leaves tests out, and each one that is left out says so.
package testserver
