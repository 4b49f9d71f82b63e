// Package supplier is whoever sells to the shop. The shop meets it on the message bus of its logistics department only, so
// there is no client here; package standin below is a supplier to try with.
package supplier
