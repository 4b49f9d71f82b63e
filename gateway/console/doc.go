// Package console is the page on which people who run the mall see it live: the
// stock, the newest orders with their states as they change, events a second, and
// the map of services with what goes between them. It is one page without a build
// step, fed by server-sent events; nothing on it comes from elsewhere.
package console
