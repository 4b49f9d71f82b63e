// Command souk runs a mall.
package main

import "example.org/souk"

func main() { souk.New().Main() }
