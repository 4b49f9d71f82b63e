// Package peers is how the processes of one mall find and know each other. Each has a row in a table of the database that
// they share, which says what it runs and where, and which counts as long as it is renewed. They speak TLS with each other, and
// each proves with a certificate that it can reach that database: the key of the authority that signs the certificates stands
// in it. Whoever can read the table of secrets is therefore one of them.
package peers
