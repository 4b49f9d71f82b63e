// Package market tries the supermarket from outside: the program as it is shipped, with stock MQTT clients at its gates,
// displays and tills.
package market
