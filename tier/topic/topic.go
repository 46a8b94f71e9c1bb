// Package topic names things: topic ids and partitions, as every other package refers to them.
// It is pure and holds no state.
package topic

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
)

// ID identifies one life of a topic: a deleted and re-created topic has a new one (KIP-516).
// The zero ID means "unknown".
type ID [16]byte

// NewID draws a random id that is neither zero nor begins with '-' in its text form
// (Kafka avoids the dash so that ids can be passed on command lines).
func NewID() ID {
	for {
		var id ID
		if _, err := rand.Read(id[:]); err != nil {
			panic(err) // crypto/rand never fails on the platforms that firn supports
		}
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if s := id.String(); s[0] != '-' {
			return id
		}
	}
}

// String gives Kafka's text form: 22 characters of unpadded URL-safe base64.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether the id is unset.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads the form that String writes.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("topic id %q: want 22 characters of URL-safe base64", s)
	}
	copy(id[:], b)
	return id, nil
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// Partition names one partition of one life of a topic. It is comparable.
type Partition struct {
	ID    ID     // the topic's id
	Topic string // the topic's name
	Index int32  // the partition's number, from 0
}

// String gives Kafka's "topic-0" form, which is also the name of the partition's folder.
func (p Partition) String() string { return p.Topic + "-" + strconv.Itoa(int(p.Index)) }
