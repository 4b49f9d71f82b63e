// Package alacarte uses single parts of the backbone in a program that is not built on it.
package alacarte
