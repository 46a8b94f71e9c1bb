package server

import "net"

// localSendBuffer is the send buffer of a connection to a client on this machine, in bytes: Kafka's default for all.
//
// What is sent over loopback is in the client's hands before the system call ends, so a large buffer holds nothing that is
// on its way. It makes things dearer: with room for a whole answer the sender goes on and wakes the client anew for each
// 64 KiB, which it has read by the time the next comes. With little room it sleeps until the client has read what there
// is, so that both go on in larger steps; ten consumers take half of the CPU time a byte. Over a network the buffer must
// hold what is on its way, which the kernel sees to.
const localSendBuffer = 100 << 10

// sizeSendBuffer sets the send buffer of a new connection. A connection that does not take it is used as it is.
func (l *Limits) sizeSendBuffer(nc net.Conn) {
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if n := l.sendBufferOf(t.LocalAddr(), t.RemoteAddr()); n > 0 {
		_ = t.SetWriteBuffer(n)
	}
}

// sendBufferOf is how many bytes; not positive: as many as the kernel thinks right.
func (l *Limits) sendBufferOf(local, remote net.Addr) int {
	switch {
	case l.SendBuffer != 0:
		return l.SendBuffer
	case onThisMachine(local, remote):
		return localSendBuffer
	}
	return 0
}

// onThisMachine says whether both ends have the same address, or the client's is a loopback address.
func onThisMachine(local, remote net.Addr) bool {
	l, ok := local.(*net.TCPAddr)
	if !ok {
		return false
	}
	r, ok := remote.(*net.TCPAddr)
	return ok && (r.IP.IsLoopback() || r.IP.Equal(l.IP))
}
