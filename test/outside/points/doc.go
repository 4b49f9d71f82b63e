// Package points gives a customer one point for each whole unit of currency spent.
//
// It lives in a repository of its own and knows of the mall only its events.
package points
