package house

import (
	"net/http"
	"time"
)

// maxStreams bounds the requests of one connection of HTTP/2 that are worked on at once. A request that its client has reset counts until
// its handler has ended; of those that wait for one, the server keeps four times as many and then ends the connection.
const maxStreams = 256

// bound says what one connection of HTTP/2 may take of a server, so that no default of a library decides: requests at once, bytes that
// nobody has read yet, bytes of a frame and of the table of headers; and how long a peer may be silent before it is asked whether it is there. How
// long a connection without a request may stay is the server's IdleTimeout, which pings do not put off.
func bound(server *http.Server) {
	server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerConnection: 1 << 20,
		MaxReceiveBufferPerStream:     256 << 10,
		MaxReadFrameSize:              16 << 10,
		MaxDecoderHeaderTableSize:     4 << 10,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   15 * time.Second,
	}
}
