package measure

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports that FreeAddr gives lie below those that Linux takes for outgoing connections (from 32768 on), so that none of
// these can take one before its server listens, or while that is down between two starts.
const firstPort, ports = 12000, 20000

var given sync.Map // ports that this process has handed out

// FreeAddr finds a loopback address that nobody listens on right now and that it has not given before. Concurrent use is
// fine.
func FreeAddr() (string, error) {
	var last error
	for range 100 {
		port := firstPort + rand.IntN(ports)
		if _, again := given.LoadOrStore(port, true); again {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		return l.Addr().String(), l.Close()
	}
	return "", errors.Join(errors.New("found no free port"), last)
}
