// Command hello is a program for the tests of testserver.Build.
package main

import "fmt"

func main() { fmt.Println(greeting) }
