// Package server owns the listeners and connections of a broker: it reads frames, hands requests to a Handler, and
// sends the answers of a connection in the order of its requests, whatever order they are given in.
//
// Invariants: nothing that a client sends or fails to send reaches another connection, ends the process or takes
// memory beyond the limits (I-32), nor what it parks the memory that others wait for. Every request's frame is kept until its
// answer is given (sent, if records are lent to it), and given back exactly once; the release function of a Fetch answer is
// called exactly once.
//
// # Limits
//
// Each of [Limits] is met in one of three ways: the client waits (nothing is read from it, so that it meets its own
// socket's limit), the connection is refused, or it is closed. Metrics, all firn_server_…, count how often:
//
//	limit                          what happens    how often                           in use
//	requests in memory             wait            request_memory_waits_total          request_memory_bytes
//	requests of one connection     wait            in_flight_pauses_total
//	request rate of a connection   wait            request_rate_pauses_total           requests_total
//	answers of one connection      wait            answer_pauses_total
//	answers in memory              closed          closed_… reason "answer memory"     answer_memory_bytes
//	connections in all             refused         refused_… "max connections"         connections, connections_limit
//	connections of an address      refused         refused_… "max connections of the address"
//	connection creation rate       wait            accept_pauses_total                 accepted_connections_total
//	size of a frame                closed          closed_… "bad frame"
//	parts of a request             closed          closed_… "bad frame"
//	slow writer (a frame's time)   closed          closed_… "slow frame"
//	slow reader (1 MiB's time)     closed          closed_… "slow reader"
//	idle                           closed          closed_… "idle"
//
// where refused_… is refused_connections_total and closed_… is closed_connections_total, both by reason.
//
// A connection costs one goroutine, which reads and calls the Handler. An answer that is given while Serve runs is
// sent by that goroutine, which may wait for the client; one given later is offered to the socket by whoever gave it,
// without waiting, if it is small. What the socket does not take then, and what must be read from the disk in any case, is
// sent by a goroutine that lives as long as there is something to send. So neither a slow client nor a slow disk holds up
// the giver, nor a slow disk the requests behind.
//
// It deliberately knows nothing of what requests mean, of TLS and SASL, and of quotas.
package server
