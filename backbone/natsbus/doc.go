// Package natsbus is a client of NATS JetStream for the backbone's broker transport.
package natsbus
