package object_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/firnlog/firn/tier/object"
)

// unconditional is a store that ignores conditions, as some that claim S3's protocol do.
type unconditional struct{ object.Store }

func (u unconditional) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	o.IfNoneMatch, o.IfMatch = false, ""
	return u.Store.Put(ctx, key, body, size, o)
}

// refusing is one that refuses them.
type refusing struct{ object.Store }

func (r refusing) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	if o.IfNoneMatch {
		return object.Info{}, object.ErrNoCondition
	}
	return r.Store.Put(ctx, key, body, size, o)
}

func TestProbeWithoutConditions(t *testing.T) {
	for name, wrap := range map[string]func(object.Store) object.Store{
		"ignores": func(s object.Store) object.Store { return unconditional{s} },
		"refuses": func(s object.Store) object.Store { return refusing{s} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			err := object.Probe(t.Context(), wrap(s))
			if !errors.Is(err, object.ErrNoCondition) {
				t.Fatal(err)
			}
			if !strings.Contains(err.Error(), "will not delete orphans") {
				t.Fatalf("the sentence does not say what follows: %v", err)
			}
			s.Store.List(t.Context(), "", "", func(i object.Info) error {
				t.Errorf("the probe left %s", i.Key)
				return nil
			})
		})
	}
}

func TestProbeSentences(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{object.ErrNoBucket, "make the bucket"},
		{object.ErrDenied, "check the credentials"},
		{object.ErrUnavailable, "check that the endpoint"},
		{object.ErrThrottled, "try again in a while"},
	} {
		s := newScripted(t)
		s.put = func(func() (object.Info, error)) (object.Info, error) { return object.Info{}, c.err }
		err := object.Probe(t.Context(), s)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.URL()) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
