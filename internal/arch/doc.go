// Package arch holds the rules of this repository's house as tests: who may import whom, what a service's folder looks
// like, what a decision may not call.
//
// Each rule stands in a file of its own, as a function over the parsed tree, beside a test that breaks the rule in a
// scratch tree and sees it caught. One more test runs all of them over the repository. Files are read in process: a
// check in a child process would be cached by the go command and print "ok" after the rule was broken.
package arch
