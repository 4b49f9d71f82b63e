// Package rabbitbus is RabbitMQ.
package rabbitbus
