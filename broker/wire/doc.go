// Package wire turns bytes of the Kafka protocol into requests and answers into bytes: frames, request and response
// headers of every key and version, pooled buffers, a bounded use of kmsg for the messages that are not hot, and
// parsers and encoders of its own for Produce and Fetch, the latter without copying the records.
//
// Invariants: no byte sequence makes it panic, loop for long or allocate more than the bytes that really arrived and what it
// was given beside them (Client.Reserve; I-32); an answer waits for the disk only where it was told that it may, and only so
// many at once do (Waits); an answer's frame length is known before its first byte is sent, and a region that comes up short
// is an error that must end the connection, never filled up with anything else.
//
// It deliberately knows nothing about connections, ordering and limits (package server), nor what a request means
// (package api). It does no I/O but that of Sender, which writes an answer to a socket.
package wire
