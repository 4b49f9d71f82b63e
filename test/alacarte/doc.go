// Package alacarte is a shop that is not built on the backbone and uses single parts of it: it appends events and keeps an
// inbox within transactions of its own. docs/guides/a-la-carte.md shows its code; a test holds the two together.
package alacarte
