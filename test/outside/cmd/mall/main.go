// Command mall is the program souk with the loyalty points in it.
package main

import (
	"example.com/loyalty/points"
	"example.org/souk"
)

func main() { souk.New().Add(points.Service()).Main() }
