package object

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// probePrefix is where Probe puts its object; a probe that was killed leaves one there, of a few bytes.
const probePrefix = ".probe/"

// Probe finds out at start whether s can do what firn needs: it is reachable, the bucket is there, the credentials
// may write, read, list and delete, and a conditional Put refuses a key that is taken. It writes, reads and deletes
// one tiny object under a key of its own.
//
// The error is a sentence that says what to do. It wraps ErrNoCondition when everything but the conditional Put
// works: firn can run on such a store but must not delete there by itself. Other errors mean that it cannot run.
func Probe(ctx context.Context, s Store) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("probe %s: %w", s.URL(), err)
	}
	key := probePrefix + time.Now().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(id[:])
	p := &probe{s: s, key: key, body: []byte("firn tries whether it can write here: " + key + "\n")}
	conditional := p.write(ctx)
	if conditional != nil && !errors.Is(conditional, ErrNoCondition) {
		return conditional
	}
	for _, step := range []func(context.Context) error{p.read, p.list, p.remove} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return conditional
}

type probe struct {
	s    Store
	key  string
	body []byte
}

// write puts the object twice, the second time expecting to be refused.
func (p *probe) write(ctx context.Context) error {
	_, err := p.put(ctx, p.body, PutOptions{IfNoneMatch: true})
	if errors.Is(err, ErrNoCondition) {
		if _, plain := p.put(ctx, p.body, PutOptions{}); plain != nil {
			return p.explain("write to", plain)
		}
		return p.noCondition("it refuses a PUT with If-None-Match")
	}
	if err != nil {
		return p.explain("write to", err)
	}
	// Another body: a retry around the store settles a lost answer by comparing bodies, and must not find ours.
	_, err = p.put(ctx, append([]byte("again: "), p.body...), PutOptions{IfNoneMatch: true})
	switch {
	case errors.Is(err, ErrExists):
		return nil
	case err == nil:
		p.body = append([]byte("again: "), p.body...)
		return p.noCondition("it overwrote an object in spite of If-None-Match")
	case errors.Is(err, ErrNoCondition):
		return p.noCondition("it refuses a PUT with If-None-Match")
	}
	return p.explain("write to", err)
}

func (p *probe) put(ctx context.Context, body []byte, o PutOptions) (Info, error) {
	var err error
	r := bytes.NewReader(body)
	if o.CRC32C, err = CRC32C(r, r.Size()); err != nil {
		return Info{}, err
	}
	o.HasCRC32C = true
	return p.s.Put(ctx, p.key, r, r.Size(), o)
}

func (p *probe) noCondition(how string) error {
	return fmt.Errorf("object store %s: %w: %s; firn can archive there but will not delete orphans by itself", p.s.URL(), ErrNoCondition, how)
}

func (p *probe) read(ctx context.Context) error {
	got, err := ReadAll(ctx, p.s, p.key, 0, -1, 1<<20)
	if err != nil {
		return p.explain("read from", err)
	}
	if !bytes.Equal(got, p.body) {
		return fmt.Errorf("object store %s gave back other bytes than were written a moment ago: do not use it", p.s.URL())
	}
	tail, err := ReadAll(ctx, p.s, p.key, 5, 7, 1<<20)
	if err != nil {
		return p.explain("read a range from", err)
	}
	if !bytes.Equal(tail, p.body[5:12]) {
		return fmt.Errorf("object store %s does not serve byte ranges: do not use it", p.s.URL())
	}
	return nil
}

func (p *probe) list(ctx context.Context) error {
	found := false
	err := p.s.List(ctx, p.key, "", func(i Info) error {
		found = found || i.Key == p.key && i.Size == int64(len(p.body))
		return nil
	})
	if err != nil {
		return p.explain("list", err)
	}
	if !found {
		return fmt.Errorf("object store %s does not list an object that was written a moment ago: firn needs strongly consistent listings", p.s.URL())
	}
	return nil
}

func (p *probe) remove(ctx context.Context) error {
	if err := p.s.Delete(ctx, []string{p.key}); err != nil {
		return p.explain("delete from", err)
	}
	if _, err := p.s.Head(ctx, p.key); !errors.Is(err, ErrNotExist) {
		if err != nil {
			return p.explain("look at an object of", err)
		}
		return fmt.Errorf("object store %s still has an object that was deleted a moment ago", p.s.URL())
	}
	return nil
}

// explain says what a person can do about err.
func (p *probe) explain(verb string, err error) error {
	advice := "see the error"
	switch {
	case errors.Is(err, ErrNoBucket):
		advice = "make the bucket (or folder), or correct its name in the store URL; firn makes no buckets"
	case errors.Is(err, ErrDenied):
		advice = "check the credentials (environment, profile= or credentials= in the store URL) and that they may put, get, list and delete in this bucket and prefix"
	case errors.Is(err, ErrThrottled):
		advice = "the store asks for fewer requests; try again in a while"
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		advice = "check that the endpoint in the store URL is right and can be reached from here"
	case errors.Is(err, io.ErrUnexpectedEOF):
		advice = "the connection to the store breaks off; check proxies on the way"
	}
	return fmt.Errorf("cannot %s the object store %s: %s: %w", verb, p.s.URL(), advice, err)
}
