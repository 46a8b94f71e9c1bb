package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DecodeRequest parses a request body with kmsg. kmsg believes the number of tagged fields (a loop of four billion
// turns for six bytes) and sizes arrays by the claim of one byte an element, so the body is walked first, by Kafka's
// own description of the message, without allocating; only a body in which every claim is backed by bytes, and whose
// decoded form is not out of proportion, reaches kmsg.
func DecodeRequest(key, version int16, body []byte) (kmsg.Request, error) {
	return decode(key, version, body, nil)
}

// decode is DecodeRequest that takes memory for the decoded form, and for an ordinary answer to it, first.
func decode(key, version int16, body []byte, a *account) (kmsg.Request, error) {
	_, cost, err := checkRequest(key, version, body)
	if err != nil {
		return nil, err
	}
	if !a.spend(cost) {
		return nil, fmt.Errorf("%s: %w", kmsg.NameForKey(key), a.why)
	}
	m := kmsg.RequestForKey(key)
	if m == nil {
		return nil, fmt.Errorf("%w %d", ErrUnknownKey, key)
	}
	m.SetVersion(version)
	if err := m.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %s version %d: %w", ErrMalformed, kmsg.NameForKey(key), version, err)
	}
	return m, nil
}
