// Package api holds the contract of the mall's application services: the protobuf sources in proto, and below gen what is
// generated from them. It is what programs of the shop call, over gRPC or as JSON; docs/rpc.md shows how.
//
// What was released never changes its meaning: contract.binpb is the contract as it was last released, and make verify
// refuses what would break a program that speaks it. A change that adds is released with make contract.
package api

//go:generate ../scripts/buf generate
