// Package server accepts connections (see conn.go).
package server

import (
	"context"

	"github.com/firnlog/firn/broker/wire"
)

// Handler serves requests.
//
// Serve is called on the connection's reading goroutine, one request of a connection after the other, and must not
// block long: what has to wait gives its answer later through reply, from any goroutine, exactly once. ctx ends when
// the connection does; a parked request may then be forgotten, but reply must still be given (Close will do).
// Requests reach Serve only with a version that the table allows.
type Handler interface {
	Serve(ctx context.Context, req *wire.Request, reply *wire.Reply)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, req *wire.Request, reply *wire.Reply)

// Serve implements Handler.
func (f HandlerFunc) Serve(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	f(ctx, req, reply)
}
