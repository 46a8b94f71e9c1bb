// Package server owns the listeners and connections of a broker: it reads frames, hands requests to a Handler, and
// sends the answers of a connection in the order of its requests, whatever order they are given in.
//
// Invariants: nothing that a client sends or fails to send reaches another connection, ends the process or takes
// memory beyond the limits (I-32): requests in memory are bounded over all connections and in number for each,
// connections are bounded in number and for each address, a frame must be complete in time, an idle connection and one
// that does not read its answers are closed. Every request's frame is kept until its answer is sent, and given back
// exactly once; the release function of a Fetch answer is called exactly once.
//
// A connection costs one goroutine, which reads and calls the Handler. An answer that is given while Serve runs is
// sent by that goroutine; one given later is offered to the socket by whoever gave it, without waiting, and what
// the socket does not take, or what must be read from a file, is sent by a goroutine that lives as long as there is
// something to send. So neither a slow client nor a slow disk holds up the giver.
//
// It deliberately knows nothing of what requests mean, of TLS and SASL, and of quotas.
package server
